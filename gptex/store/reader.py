"""Reading a split: any textures of it, in any order, from whichever shards hold them, by any number of processes.

A shard is opened when it is first needed, in the process that needs it, and only so many stay open. Uncompressed images are
mapped into memory; of compressed ones whole chunks are read. What cannot be read is an error: nothing is ever made up.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import numpy.typing as npt

from gptex.errors import DatasetError, GptexError
from gptex.recipe import Recipe
from gptex.store.manifest import Manifest
from gptex.store.shard import Shard, damaged, open_shard

MOST_OPEN = 32  # shards: a map holds a file descriptor, and systems allow as few as 256


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


class SplitReader:
    """The textures of one split of a dataset, to be read by index.

    Reading is safe in several processes, however they were started, but not in several threads at once. A pickle of it is
    small: it holds no data and no open files.

    Parameters
    ----------
    path : path
        The dataset's folder.
    split : str

    Attributes
    ----------
    folder : Path
    manifest : Manifest
    contents : Recipe or Source
    split : str
    shards : list of Shard
        Of the split, in order.

    Raises
    ------
    DatasetError
        If there is no dataset.
    GptexError
        If it has no such split; the message lists those it has.
    """

    def __init__(self, path: str | Path, split: str) -> None:
        self.folder = Path(path).absolute()
        self.manifest = Manifest.read(self.folder)
        self.contents = self.manifest.contents
        if split not in self.manifest.splits:
            raise GptexError(f"{path} has no split {split!r}: there are {', '.join(self.manifest.splits)}")
        self.split = split
        self.shards = sorted((shard for shard in self.manifest.shards if shard.split == split), key=lambda shard: shard.first)
        self._starts = np.array([shard.first for shard in self.shards])
        self._open: OrderedDict[int, _OpenShard] = OrderedDict()
        self._process = os.getpid()

    def __len__(self) -> int:
        return self.manifest.splits[self.split].textures

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": OrderedDict()}  # a file that is open here is not open elsewhere

    def read(self, indices: Sequence[int]) -> Batch:
        """The textures at `indices`, in this order; those of one shard are read together.

        Raises
        ------
        IndexError
            For an index out of range.
        DatasetError
            If a shard is missing, damaged or another one than in the manifest.
        """
        index = np.asarray(indices, dtype=np.int64)
        if index.size and not (-len(self) <= index.min() and index.max() < len(self)):
            wrong = next(i for i in index.tolist() if not -len(self) <= i < len(self))
            raise IndexError(f"there is no texture {wrong}: split {self.split!r} has {len(self)}")
        index = np.where(index < 0, index + len(self), index)
        places = np.searchsorted(self._starts, index, side="right") - 1
        images = np.empty((len(index), *self.contents.shape), self.contents.dtype)
        labels = np.empty(len(index), np.int64)
        for place in np.unique(places).tolist():
            rows = np.flatnonzero(places == place)
            shard, at = self._shard(place), index[rows] - self.shards[place].first
            shard.read_into(images, rows, at)
            labels[rows] = shard.labels[at]
        table = [self.contents.length_scales(label) for label in labels.tolist()]
        return Batch(images, labels, np.array(table, np.float64).reshape(len(index), -1))

    @property
    def labels(self) -> npt.NDArray[np.int64]:
        """Label of each texture of the split, shape (n,)."""
        if isinstance(self.contents, Recipe):
            return np.arange(len(self)) % self.contents.n_classes
        return np.concatenate([self._shard(place).labels for place in range(len(self.shards))])

    def _shard(self, place: int) -> _OpenShard:
        if self._process != os.getpid():  # a fork: what the parent has open is the parent's
            self._open, self._process = OrderedDict(), os.getpid()
        if place in self._open:
            self._open.move_to_end(place)
        else:
            while len(self._open) >= MOST_OPEN:
                self._open.popitem(last=False)
            self._open[place] = _OpenShard(self.folder / self.shards[place].file, self.shards[place])
        return self._open[place]


class _OpenShard:
    """A shard open for reading: its labels in memory, its images mapped or, if they are compressed, in HDF5."""

    def __init__(self, path: Path, shard: Shard) -> None:
        with open_shard(path) as file:
            images = file["images"]
            first = file["index"][0]
            if path.stat().st_size != shard.bytes or (file.attrs.get("split"), first) != (shard.split, shard.first):
                raise DatasetError(damaged(path, ValueError("it is another file than in the manifest")))
            self.labels: npt.NDArray[np.int64] = file["labels"][()]
            offset = images.id.get_offset()
            mapped = None if offset is None else np.memmap(path, images.dtype, "r", offset, images.shape)
        self._path = path
        self._images: Any = h5py.File(path, "r", locking=False)["images"] if mapped is None else mapped

    def read_into(self, images: npt.NDArray[Any], rows: npt.NDArray[np.int64], at: npt.NDArray[np.int64]) -> None:
        """Copy the images `at` these places of the shard to these `rows` of `images`."""
        try:
            for row, i in zip(rows.tolist(), at.tolist(), strict=True):
                images[row] = self._images[i]
        except (OSError, RuntimeError) as error:
            raise DatasetError(damaged(self._path, error)) from error
