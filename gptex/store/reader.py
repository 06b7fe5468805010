"""Reading a split: any textures of it, in any order, from whichever shards hold them, by any number of processes.

A shard is opened when it is first needed, in the process that needs it, and only so many stay open. Of uncompressed images
the bytes are read where they lie; of compressed ones whole chunks are. What cannot be read is an error: nothing is made up,
and a file that is cut short meanwhile does not crash the process, as it would were it mapped into memory.
"""

from __future__ import annotations

import io
import operator
import os
import shlex
import sys
import threading
from collections.abc import Sequence
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from gptex.errors import DatasetError, GptexError
from gptex.recipe import Recipe
from gptex.store.manifest import Manifest
from gptex.store.shard import Shard, damaged
from gptex.store.source import Contents

MOST_OPEN = 128  # shards, or this share of the files that the system lets a process open
SHARE = 1 / 8
OF_A_PROCESS = ("_process", "_open", "labels")  # attributes that do not go with a pickle
HDF5_ERRORS = (ValueError, KeyError, RuntimeError, TypeError, AttributeError, MemoryError)  # of damaged files


class Batch(NamedTuple):
    """Textures read together.

    Attributes
    ----------
    images : ndarray of shape (n, *shape) and the dataset's dtype
    labels : ndarray of shape (n,), int64
    length_scales : ndarray of shape (n, components), float64
    """

    images: npt.NDArray[np.floating[Any]]
    labels: npt.NDArray[np.int64]
    length_scales: npt.NDArray[np.float64]

    @classmethod
    def of(cls, contents: Contents, images: npt.NDArray[np.floating[Any]], labels: npt.NDArray[np.int64]) -> Batch:
        """A batch of the images with these labels."""
        table = [contents.length_scales(label) for label in labels.tolist()]
        return cls(images, labels, np.array(table, np.float64).reshape(len(labels), len(contents.length_scales(0))))


class SplitReader:
    """The textures of one split of a dataset, to be read by index.

    Any number of processes, however they were started, and threads may read at once. A pickle of it is small: it holds no
    data and no open files.

    Parameters
    ----------
    path : path
        The dataset's folder.
    split : str

    Attributes
    ----------
    folder : Path
    contents : Recipe or Source
    split : str
    splits : tuple of str
        All that the dataset has.
    shards : list of Shard
        Of the split, in order.

    Raises
    ------
    DatasetError
        If there is no dataset.
    GptexError
        If it has no such split; the message lists those it has.
    """

    _process: int | None = None  # that opened what is open

    def __init__(self, path: str | Path, split: str) -> None:
        manifest = Manifest.read(path)
        if split not in manifest.splits:
            raise GptexError(f"{path} has no split {split!r}: there are {', '.join(manifest.splits)}")
        self.folder = Path(path).absolute()
        self.contents = manifest.contents
        self.split, self.splits = split, tuple(manifest.splits)
        self.shards = sorted((shard for shard in manifest.shards if shard.split == split), key=lambda shard: shard.first)
        self._starts = np.array([shard.first for shard in self.shards])
        self._length = manifest.splits[split].textures

    def __len__(self) -> int:
        return self._length

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in OF_A_PROCESS}

    def read(self, indices: Sequence[int]) -> Batch:
        """The textures at `indices`, in this order; those that lie together are read together.

        Raises
        ------
        IndexError
            For an index out of range.
        DatasetError
            If a shard is missing, damaged or another one than in the manifest.
        """
        index = np.array(positions(indices, len(self), self.split), np.int64)
        places = np.searchsorted(self._starts, index, side="right") - 1
        images = np.empty((len(index), *self.contents.shape), self.contents.dtype)
        labels = np.empty(len(index), np.int64)
        for place in np.unique(places).tolist():
            rows = np.flatnonzero(places == place)
            shard, at = self._shard(place), index[rows] - self._starts[place]
            try:
                shard.read_into(images, rows, at)
            except DatasetError:
                self._open.cache_clear()  # it may be another file when it has been mended
                raise
            labels[rows] = shard.labels[at]
        return Batch.of(self.contents, images, labels)

    @cached_property
    def labels(self) -> npt.NDArray[np.int64]:
        """Label of each texture of the split, shape (n,)."""
        if isinstance(self.contents, Recipe):
            return np.arange(len(self)) % self.contents.n_classes
        return np.concatenate([self._shard(place).labels for place in range(len(self.shards))])

    def _shard(self, place: int) -> _OpenShard:
        if self._process != os.getpid():  # a fork: what the parent has open is the parent's
            self._open = lru_cache(_most_open())(partial(_OpenShard, self.folder, self.contents))
            self._process = os.getpid()
        return self._open(self.shards[place])


def _most_open() -> int:
    """How many shards to keep open: each takes a file descriptor."""
    if sys.platform == "win32":
        return MOST_OPEN
    import resource

    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return MOST_OPEN if limit == resource.RLIM_INFINITY else min(MOST_OPEN, max(1, int(SHARE * limit)))


def positions(indices: Sequence[int], length: int, split: str) -> list[int]:
    """Indices of a list of `length`, perhaps negative, as ints from 0; IndexError for one out of range."""
    found = [operator.index(index) for index in indices]
    for index in found:
        if not -length <= index < length:
            raise IndexError(f"there is no texture {index}: split {split!r} has {length}")
    return [index % length for index in found]


class _OpenShard:
    """A shard open for reading, with its labels in memory. It is closed when nobody has it any more."""

    _file: io.FileIO | None = None
    _images: h5py.Dataset = None  # compressed ones

    def __init__(self, folder: Path, contents: Contents, shard: Shard) -> None:
        self._path = folder / shard.file
        self._lock = threading.Lock()  # from one's place in the file to what one reads there
        try:
            self._file = self._path.open("rb", buffering=0)
            hdf5 = h5py.File(self._file, "r", rdcc_nbytes=0)  # not by its name: others may have that open with other locking
            if hdf5.attrs["arrays_sha256"] != shard.arrays_sha256:
                raise ValueError("it is another file than in the manifest")
            images, dtype = hdf5["images"], np.dtype(contents.dtype).newbyteorder("<")
            if (images.shape, images.dtype) != ((shard.count, *contents.shape), dtype):
                raise ValueError(f"it has images of shape {images.shape} and type {images.dtype}")
            self.labels: npt.NDArray[np.int64] = hdf5["labels"][()]
            self._offset: int | None = images.id.get_offset()
            if self._offset is None:
                self._images = images
        except FileNotFoundError:
            repair = shlex.join(["gptex", "repair", str(folder)])
            raise DatasetError(f"{self._path} is missing: `{repair}` makes it again") from None
        except (*HDF5_ERRORS, OSError) as error:
            raise DatasetError(damaged(self._path, error)) from error

    def __del__(self) -> None:
        if self._file:
            self._file.close()

    def read_into(self, images: npt.NDArray[Any], rows: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> None:
        """Read the images `at` these places of the shard into these `rows` of `images`, runs of them in one go."""
        ends = np.flatnonzero((np.diff(rows) != 1) | (np.diff(at) != 1)) + 1
        try:
            for run, start in zip(np.split(rows, ends), at[[0, *ends]].tolist(), strict=True):
                self._read(images[run[0] : run[-1] + 1], start)
        except (*HDF5_ERRORS, OSError) as error:
            raise DatasetError(damaged(self._path, error)) from error

    def _read(self, images: npt.NDArray[Any], start: int) -> None:
        if self._file is None or self._offset is None:
            self._images.read_direct(images, np.s_[start : start + len(images)])
            return
        rest = images.reshape(-1).view(np.uint8).data
        with self._lock:
            self._file.seek(self._offset + start * images[0].nbytes)
            while rest:
                if not (size := self._file.readinto(rest)):
                    raise OSError("it ends too early")
                rest = rest[size:]
