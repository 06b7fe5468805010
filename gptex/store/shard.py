"""A shard: one HDF5 file of consecutive textures of a split. docs/format.md says what is in it; writer and reader are here.

A shard is written under a temporary name, closed, synced and renamed, so that a file with a shard's name is whole.
"""

from __future__ import annotations

import hashlib
import io
import os
import shlex
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal

import h5py
import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from gptex.errors import DatasetError
from gptex.fields.blas import one_blas_thread
from gptex.recipe import Recipe, Texture
from gptex.store.files import replacing
from gptex.store.source import Contents

FORMAT = 1
SIGNATURE = b"\x89HDF\r\n\x1a\n"
HEAD_BYTES = 2**17  # of a file, in which its attributes are
ARRAYS = ("images", "labels", "length_scales", "index")
Compression = Literal["none", "gzip", "lzf"]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, lt=2**63)]


@dataclass(frozen=True)
class ShardPlan:
    """Which textures a shard holds and how they are stored; plain data, to be sent to a worker."""

    file: str  # relative to the dataset's folder, with forward slashes
    split: str
    first: int
    count: int
    compression: Compression = "none"


class Shard(BaseModel):
    """A shard as it stands in the manifest."""

    model_config = ConfigDict(frozen=True)

    file: Annotated[str, Field(pattern=r"^[^\W_][\w-]{0,63}/\d{5,}\.h5$")]  # nothing that leads out of the folder
    split: str
    first: Count
    count: Annotated[int, Field(ge=1, lt=2**63)]
    bytes: Count
    sha256: Sha256
    arrays_sha256: Sha256
    compression: Compression = "none"

    @property
    def plan(self) -> ShardPlan:
        """What the shard should hold."""
        return ShardPlan(self.file, self.split, self.first, self.count, self.compression)


def stored_bytes(contents: Contents, count: int) -> int:
    """Bytes on disk of `count` uncompressed textures with their labels, without the file's own overhead of a few kB."""
    return count * (contents.texture_bytes + 8 * (2 + len(contents.length_scales(0))))


def make_shard(folder: str, recipe_json: str, plan: ShardPlan, expected: str | None = None) -> Shard:
    """Write a shard as `write_shard` does, or keep the one that is there if it is right. What a worker does.

    Parameters
    ----------
    folder : str
        Of the dataset.
    recipe_json : str
        `Recipe.to_json`; as text, so that a task is small and any worker can read it.
    """
    path = Path(folder, plan.file)
    if path.exists() and (kept := _keep(path, _recipe(recipe_json), plan)):
        return kept
    return write_shard(folder, recipe_json, plan, expected)


def write_shard(folder: str, recipe_json: str, plan: ShardPlan, expected: str | None = None) -> Shard:
    """Draw the textures of a shard and write it in place of what is there; with `expected` only if its arrays have that hash.

    Raises
    ------
    DatasetError
        If the disk is full or not writable, or the hash is another one. What was there is there still.
    """
    recipe, path = _recipe(recipe_json), Path(folder, plan.file)
    with replacing(path) as part:
        path.parent.mkdir(exist_ok=True)
        with one_blas_thread:
            textures = (recipe.texture(plan.split, i) for i in range(plan.first, plan.first + plan.count))
            digest = write_textures(part, recipe, plan, textures)
        if expected not in (None, digest):
            raise DatasetError(
                f"{path}: made again, its arrays have another hash than in the manifest. The dataset was made with other "
                "versions or on another processor, where textures differ by rounding: "
                "`gptex generate --overwrite` makes it anew"
            )
        return record(part, plan, digest)


def record(path: Path, plan: ShardPlan, arrays_sha256: str) -> Shard:
    """The shard in the file `path`, as it stands in the manifest."""
    return Shard(**asdict(plan), bytes=path.stat().st_size, sha256=file_sha256(path), arrays_sha256=arrays_sha256)


@lru_cache(maxsize=1)
def _recipe(recipe_json: str) -> Recipe:
    """The recipe of a task; kept for the worker's next one with the samplers set up so far."""
    return Recipe.from_json(recipe_json)


class _Disk(io.FileIO):
    """A file for HDF5 to write to that keeps the first failure for `check`, and takes in silence what comes after it.

    HDF5 cannot close a file that it cannot write: h5py then raises a RuntimeError, and HDF5 2.0 crashes the process.
    """

    _failure: OSError | None = None

    def check(self) -> None:
        """Raise what went wrong so far."""
        if self._failure:
            raise self._failure

    def write(self, data: Any) -> int:
        """Write all of `data`, also where the system takes it in pieces."""
        rest = memoryview(data).cast("B")
        size = len(rest)
        while rest and not self._failure:
            try:
                rest = rest[super().write(rest) :]
            except OSError as error:
                self._failure = error
        return size

    def truncate(self, size: int | None = None) -> int:
        """Set the file's size."""
        try:
            return self.tell() if self._failure else super().truncate(size)
        except OSError as error:
            self._failure = error
            return self.tell()


def write_textures(path: Path, contents: Contents, plan: ShardPlan, textures: Iterable[Texture]) -> str:
    """Write the file of a shard, one texture at a time in memory, and return the SHA-256 of its arrays."""
    dtype = np.dtype(contents.dtype).newbyteorder("<")
    labels = np.zeros(plan.count, "<i8")
    storage: dict[str, Any] = {}
    if plan.compression != "none":
        storage = {"chunks": (1, *contents.shape), "compression": plan.compression, "shuffle": True}
    digest = hashlib.sha256()
    with _Disk(path, "w+") as disk, h5py.File(disk, "w") as file:
        file.attrs["format"] = FORMAT
        file.attrs["split"] = plan.split
        file.attrs.update(_description(contents))
        file.attrs["arrays_sha256"] = digest.hexdigest()  # of as yet no arrays: keeps the place
        images = file.create_dataset("images", (plan.count, *contents.shape), dtype, **storage)
        remaining = iter(textures)
        for row in range(plan.count):
            texture = next(remaining, None)
            if texture is None:
                raise ValueError(f"there are {row} textures for a shard of {plan.count}")
            image = np.ascontiguousarray(texture.image, dtype)
            images[row] = image
            disk.check()
            digest.update(image.data)
            labels[row] = texture.label
            del texture, image  # before the next one is drawn; zip would hold it too
        for name, array in _small_arrays(contents, plan, labels).items():
            file.create_dataset(name, data=array)
            digest.update(array.data)
        file.attrs["arrays_sha256"] = digest.hexdigest()
        file.close()  # which writes
        disk.check()
        if hasattr(os, "posix_fadvise"):  # Linux begins to write to the disk at once, while the file's hash is taken
            os.posix_fadvise(disk.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    return digest.hexdigest()


def _description(contents: Contents) -> dict[str, str]:
    """The attributes that say what a shard's dataset is."""
    text = contents.to_json()
    if isinstance(contents, Recipe):
        return {"recipe": text, "recipe_sha256": hashlib.sha256(text.encode()).hexdigest()}
    return {"source": text}


def _small_arrays(contents: Contents, plan: ShardPlan, labels: npt.NDArray[np.int64]) -> dict[str, npt.NDArray[Any]]:
    """What a shard holds beside its images, in the order of `ARRAYS`."""
    table = [contents.length_scales(label) for label in labels.tolist()]
    return {"labels": labels, "length_scales": np.array(table, "<f8"), "index": _index(plan)}


def file_sha256(path: Path) -> str:
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _keep(path: Path, recipe: Recipe, plan: ShardPlan) -> Shard | None:
    """The record of the shard at `path` if it is whole and holds what is planned, else None.

    It is checked under a temporary name: damage that crashes HDF5, and this process with it, is not met again by the next run.
    """
    try:
        with replacing(path) as part:
            os.replace(path, part)
            digest = check_shard(part, recipe, plan)
            return record(part, replace(plan, compression=_compression(part)), digest)
    except DatasetError:
        return None


def begins_as_shard(path: Path, split: str, recipe_sha256: str | None) -> bool:
    """Whether a file begins like a shard of `split` and of the recipe with this hash; without a hash, of any recipe.

    HDF5 is not asked, which some damage crashes: its signature and the attributes' strings are searched for.
    """
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            head = file.read(HEAD_BYTES)
    except OSError:
        return False
    strings = [string.encode() for string in (split, recipe_sha256) if string is not None]
    stored = [len(string).to_bytes(8, "little") + string for string in strings]  # as HDF5 writes strings of any length
    names = [] if recipe_sha256 else [b"arrays_sha256"]
    return head.startswith(SIGNATURE) and all(part in head for part in stored + names)


@contextmanager
def open_shard(path: Path) -> Iterator[h5py.File]:
    """A shard open for reading, without a lock, as network file systems need it.

    Raises
    ------
    DatasetError
        If the file is missing, is no HDF5 file, is cut short, or lacks a part of the format; the message says how to mend it.
    """
    if not path.exists():
        raise DatasetError(f"{path} is missing: `{_repair(path)}` makes it again")
    try:
        with h5py.File(path, "r", locking=False) as file:
            missing = [name for name in ARRAYS if name not in file]
            if missing:
                raise DatasetError(f"{path} has no dataset {missing[0]!r}: it is not a gptex shard")
            yield file
    except OSError as error:
        raise DatasetError(damaged(path, error)) from error


def check_shard(path: Path, contents: Contents, plan: ShardPlan) -> str:
    """Check that a shard holds what is planned, and return the SHA-256 of its arrays.

    Raises
    ------
    DatasetError
        Naming what is wrong.
    """
    try:
        return _check_shard(path, contents, plan)
    except DatasetError:
        raise
    except (ValueError, KeyError, RuntimeError, TypeError, AttributeError, MemoryError) as error:  # as HDF5 has it
        raise DatasetError(damaged(path, error)) from error


def damaged(path: Path, error: Exception) -> str:
    """What to say of a shard that cannot be read."""
    reason = " ".join(str(error).split())
    return f"{path} is damaged or cut short ({reason}): `{_repair(path)}` makes it again"


def _repair(path: Path) -> str:
    return shlex.join(["gptex", "repair", str(path.parent.parent)])


def _check_shard(path: Path, contents: Contents, plan: ShardPlan) -> str:
    with open_shard(path) as file:
        if file.attrs.get("format") != FORMAT:
            raise DatasetError(f"{path} has format {file.attrs.get('format')}, not {FORMAT}")
        if file.attrs.get("split") != plan.split:
            raise DatasetError(f"{path} holds split {file.attrs.get('split')!r}, not {plan.split!r}")
        if not _describes(file, contents):
            raise DatasetError(f"{path} was made from another {type(contents).__name__.lower()}")
        labels = file["labels"][()]
        if isinstance(contents, Recipe) and not np.array_equal(labels, _index(plan) % contents.n_classes):
            raise DatasetError(f"{path} has labels that are not those of its recipe")
        if labels.shape != (plan.count,) or labels.min() < 0 or labels.max() >= contents.n_classes:
            raise DatasetError(f"{path} has labels that are not in its table of classes")
        for name, array in _small_arrays(contents, plan, labels).items():
            if not np.array_equal(file[name], array):
                raise DatasetError(f"{path} has other values in {name!r} than textures {plan.first} to {_index(plan)[-1]} have")
        images = file["images"]
        if images.shape != (plan.count, *contents.shape) or images.dtype != np.dtype(contents.dtype):
            raise DatasetError(f"{path} has images of shape {images.shape} and type {images.dtype}, not those of its dataset")
        digest = arrays_sha256(file)
        if digest != file.attrs.get("arrays_sha256"):
            raise DatasetError(f"{path} has arrays that do not match their hash")
        return digest


def _index(plan: ShardPlan) -> npt.NDArray[np.int64]:
    return np.arange(plan.first, plan.first + plan.count, dtype="<i8")


def _describes(file: h5py.File, contents: Contents) -> bool:
    """Whether a shard says of its dataset what is expected."""
    if isinstance(contents, Recipe):
        return Recipe.from_json(str(file.attrs.get("recipe"))).same_textures(contents)
    return bool(file.attrs.get("source") == contents.to_json())


def arrays_sha256(file: h5py.File) -> str:
    """SHA-256 of a shard's decoded arrays: images, labels, length_scales, index, in C order, little-endian."""
    digest = hashlib.sha256()
    for row in range(len(file["images"])):
        digest.update(_little_endian(file["images"][row]).data)
    for name in ARRAYS[1:]:
        digest.update(_little_endian(file[name][()]).data)
    return digest.hexdigest()


def _little_endian(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    return np.ascontiguousarray(array, array.dtype.newbyteorder("<"))


def _compression(path: Path) -> Compression:
    with open_shard(path) as file:
        name = file["images"].compression
    return name if name in ("gzip", "lzf") else "none"
