"""The files of the original software (github golkar/backdrop), read safely and checked.

There are two kinds. A `.gp` file is a pickle of two-scale images and their table of classes,

    [[[image, label], ...], {label: "9.5-80", ...}]

and a sample is a `.npy` file of one field whose name says its length scale, `final_size-1024_corr-9.5_v1.npy`. Either comes
alone, in a folder or in a zip archive, at any depth and among other files. Forgiving in form, this module is strict in
content: images are floats of one shape, finite and not constant, and every label has its length scales.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from pathlib import Path, PurePosixPath
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from gptex.errors import DatasetError
from gptex.published.archive import Opener, open_archive, readable
from gptex.published.pickles import CHUNK, StoredArray, index_pickle
from gptex.recipe import Texture

Scales = tuple[float, ...]
Image = npt.NDArray[np.floating[Any]]

SCALE = r"[0-9]{1,9}(?:\.[0-9]{1,9})?"
SAMPLE = re.compile(rf"final_size-(?P<size>[0-9]{{1,9}})_corr-(?P<scale>{SCALE})_v(?P<number>[0-9]{{1,9}})\.npy")
CLASS = re.compile(rf"{SCALE}(?:-{SCALE})*")
NPY = re.compile(
    rb"{'descr': '(?P<type>[<>]f[248])', 'fortran_order': (?P<fortran>True|False), "
    rb"'shape': \((?P<rows>[0-9]{1,9})L?, (?P<columns>[0-9]{1,9})L?\), } *\n"  # L by Python 2
)
MAX_AXES = 3


@dataclass(frozen=True)
class LegacyImages:
    """Labelled images of the original software, as they stand in their file; iterating reads and checks one at a time.

    Attributes
    ----------
    name : str
        Where they come from, for people.
    shape : tuple of int
    dtype : dtype
        As stored; images come in the machine's byte order.
    classes : dict of int to tuple of float
        Length scales in pixels of each label, the labels in increasing order.
    labels : tuple of int
        Of each image, in the order of the file, or of length scale and number for samples.
    left_out : tuple of str
        Names of other files that stand beside them, which were not read.
    sources : tuple of (str, callable)
        Name of each image, and what reads it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    classes: dict[int, Scales]
    labels: tuple[int, ...]
    left_out: tuple[str, ...]
    sources: tuple[tuple[str, Callable[[], Image]], ...]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def counts(self) -> dict[int, int]:
        """Number of images of each class."""
        counts = Counter(self.labels)
        return {label: counts[label] for label in self.classes}

    def __iter__(self) -> Iterator[Texture]:
        """The images in order, read-only.

        Raises
        ------
        DatasetError
            If an image cannot be read, has another shape or type than the first, is not finite, or is constant.
        """
        for label, (name, read) in zip(self.labels, self.sources, strict=True):
            with readable(name):
                image = read()
            self._check(image, name)
            yield Texture(image, label, self.classes[label])

    def _check(self, image: Image, name: str) -> None:
        """Whether an image is like the others, and is one."""
        if image.shape != self.shape or image.dtype != self.dtype.newbyteorder("="):
            raise DatasetError(f"{name} is {image.dtype} of shape {image.shape}, not {self.dtype} of shape {self.shape}")
        with np.errstate(invalid="ignore"):
            lowest, highest = float(image.min()), float(image.max())
        if not (math.isfinite(lowest) and math.isfinite(highest)):
            raise DatasetError(f"{name} has values that are not finite")
        if lowest == highest:
            raise DatasetError(f"{name} is constant: every pixel is {lowest:g}")


@contextmanager
def open_legacy(path: str | Path) -> Iterator[LegacyImages]:
    """Open what the original software wrote.

    Parameters
    ----------
    path : path
        A `.gp` pickle, a zip archive or a folder with one, or a sample, a zip archive or a folder of them.

    Raises
    ------
    DatasetError
        If there is no such thing, or it is damaged, not to be trusted, or not what the original software writes. Pickles are
        not run, archives are not unpacked, and nothing is written.

    Examples
    --------
    >>> import pickle, tempfile
    >>> images = np.random.default_rng(0).normal(size=(4, 32, 32)).astype("float32")
    >>> table = {0: "9.5-80", 1: "10-80"}
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "GP_9.5-10+80.gp")
    ...     _ = path.write_bytes(pickle.dumps([[[image, n % 2] for n, image in enumerate(images)], table]))
    ...     with open_legacy(path) as legacy:
    ...         print(legacy.shape, legacy.classes, [texture.label for texture in legacy])
    (32, 32) {0: (9.5, 80.0), 1: (10.0, 80.0)} [0, 1, 0, 1]
    """
    path = Path(path)
    with ExitStack() as stack:
        with readable(str(path)):
            files = _files(path, stack)
        yield _images(path, files, stack)


def _files(path: Path, stack: ExitStack) -> dict[str, Opener]:
    """The files at `path`, in it if it is an archive or a folder, with functions that open them."""
    if path.is_dir():
        found = sorted(file for file in path.rglob("*") if file.is_file() and not file.name.startswith("."))
        return {file.relative_to(path).as_posix(): partial(_open, file) for file in found}
    with _open(path) as file:
        is_archive = file.read(2) == b"PK"
    return stack.enter_context(open_archive(path)) if is_archive else {path.name: partial(_open, path)}


def _open(path: Path) -> IO[bytes]:
    return path.open("rb")


def _images(path: Path, files: dict[str, Opener], stack: ExitStack) -> LegacyImages:
    """The images in files: of a pickle if there is one, else of samples."""
    samples = {name: match for name in files if (match := SAMPLE.fullmatch(PurePosixPath(name).name))}
    pickles = [name for name in files if name.lower().endswith(".gp")]
    if list(files) == [path.name] and path.suffix != ".npy":
        pickles = [path.name]  # whatever it is called
    if len(pickles) > 1:
        raise DatasetError(f"{path} holds {len(pickles)} .gp files: unpack it and name one of {', '.join(pickles[:5])}")
    if pickles:
        (name,) = pickles
        left_out = tuple(other for other in files if other != name)
        return _crosses(_title(path, name), files[name], left_out, stack)
    if samples:
        left_out = tuple(name for name in files if name not in samples)
        return _samples(path, {name: (match, files[name]) for name, match in samples.items()}, left_out)
    raise DatasetError(f"{path} holds neither a .gp file nor samples named like final_size-1024_corr-9.5_v1.npy")


def _title(path: Path, name: str) -> str:
    """A file's name for messages."""
    return str(path) if path.name == name else f"{path}: {name}"


# -- crosses


def _crosses(name: str, opener: Opener, left_out: tuple[str, ...], stack: ExitStack) -> LegacyImages:
    """The images of a pickle; all is checked but the pixels."""
    with readable(name):
        file = stack.enter_context(opener())
        match index_pickle(file, name):
            case [list(pairs), dict(table)] if pairs and table:
                classes = _classes(table, name)
            case _:
                raise DatasetError(f"{name} is not a list of images and a table of classes")
    arrays: list[StoredArray] = []
    labels: list[int] = []
    for number, pair in enumerate(pairs):
        match pair:
            case [StoredArray() as array, label] if type(label) is int:
                arrays.append(array)
                labels.append(label)
            case _:
                raise DatasetError(f"{name}: entry {number} is not an image with a whole number as its label")
        if label not in classes:
            raise DatasetError(f"{name}: image {number} has label {label}, which is not in the table of classes")
    first = arrays[0]
    if not 1 <= len(first.shape) <= MAX_AXES:
        raise DatasetError(f"{name}: images have one to three axes, not the shape {first.shape}")
    for number, array in enumerate(arrays):
        if array.dtype.kind != "f" or (array.shape, array.dtype) != (first.shape, first.dtype):
            raise DatasetError(
                f"{name}: image {number} is {array.dtype} of shape {array.shape}: images are floats, all of one type and shape"
            )
    if len({array.data for array in arrays}) < len(arrays):
        raise DatasetError(f"{name} has the same image twice")
    sources = tuple((f"{name}: image {number}", partial(array.read, file)) for number, array in enumerate(arrays))
    return LegacyImages(name, first.shape, first.dtype, classes, tuple(labels), left_out, sources)


def _classes(table: dict[Any, Any], name: str) -> dict[int, Scales]:
    """Length scales by label."""
    for label, text in table.items():
        if type(label) is not int or label < 0 or not isinstance(text, str) or not CLASS.fullmatch(text):
            raise DatasetError(f"{name}: {label!r} in the table of classes is not a label with length scales, as 0 with 9.5-80")
    classes = {label: tuple(float(scale) for scale in table[label].split("-")) for label in sorted(table)}
    if not all(scale > 0 for scales in classes.values() for scale in scales):
        raise DatasetError(f"{name}: the table of classes has a length scale that is not positive")
    if len({len(scales) for scales in classes.values()}) != 1 or len(set(classes.values())) < len(classes):
        raise DatasetError(f"{name}: the classes do not differ, or have different numbers of length scales")
    return classes


# -- samples


def _samples(path: Path, found: dict[str, tuple[re.Match[str], Opener]], left_out: tuple[str, ...]) -> LegacyImages:
    """The fields of samples, by length scale and number."""
    order = sorted((float(match["scale"]), int(match["number"]), name) for name, (match, _) in found.items())
    for (scale, number, name), (*other, other_name) in pairwise(order):
        if [scale, number] == other:
            raise DatasetError(f"{path} holds sample {number} of length scale {scale:g} twice: {name} and {other_name}")
    scales = sorted({scale for scale, _, _ in order})
    if not scales[0] > 0:
        raise DatasetError(f"{path}: {order[0][2]} has a length scale that is not positive")
    sizes = {int(match["size"]) for match, _ in found.values()}
    if len(sizes) > 1:
        raise DatasetError(f"{path} holds samples of different sizes: {', '.join(map(str, sorted(sizes)))}")
    (size,) = sizes
    names = [name for _, _, name in order]
    with readable(_title(path, names[0])), found[names[0]][1]() as file:
        _, _, dtype = _npy_header(file)
    sources = tuple((_title(path, name), partial(_read_sample, found[name][1], (size, size))) for name in names)
    return LegacyImages(
        name=str(path),
        shape=(size, size),
        dtype=dtype,
        classes={label: (scale,) for label, scale in enumerate(scales)},
        labels=tuple(scales.index(scale) for scale, _, _ in order),
        left_out=left_out,
        sources=sources,
    )


def _read_sample(opener: Opener, shape: tuple[int, ...]) -> Image:
    """The field of a `.npy` file, whose shape is known before it is believed."""
    with opener() as file:
        stored, fortran, dtype = _npy_header(file)
        if stored != shape:
            raise ValueError(f"it holds an array of shape {stored}, not {shape} as its name says")
        size = math.prod(shape) * dtype.itemsize
        data = bytearray()
        while len(data) < size and (chunk := file.read(min(CHUNK, size - len(data)))):  # no more memory than there are bytes
            data += chunk
        if len(data) < size or file.read(1):
            raise ValueError(f"it does not hold {size} bytes of pixels")
    image = np.frombuffer(data, dtype).reshape(shape, order="F" if fortran else "C")
    return np.ascontiguousarray(image, dtype.newbyteorder("="))


def _npy_header(file: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, whether in Fortran order, and dtype; matched, as numpy's own reader parses it as Python."""
    magic, length = file.read(8), int.from_bytes(file.read(2), "little")
    header = NPY.fullmatch(file.read(length))
    if magic != b"\x93NUMPY\x01\x00" or not header:
        raise ValueError("it does not begin as a .npy file of floats with two axes does")
    return (int(header["rows"]), int(header["columns"])), header["fortran"] == b"True", np.dtype(header["type"].decode())
