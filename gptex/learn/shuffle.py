"""Shuffling that reads a few shards at a time: nearly as random as one likes, and nearly as quick as reading in order."""

from __future__ import annotations

import operator
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset, Sampler, Subset

from gptex.errors import GptexError
from gptex.fields.streams import check_seed, stream
from gptex.learn.datasets import TextureDataset


class ShardShuffle(Sampler[int]):
    """Indices of a dataset in random order, such that those near each other come from few shards.

    The shards are put into random order and taken in groups; the textures of a group are shuffled. Each pass is the next
    epoch, with another order, which depends on seed and epoch alone. With several ranks each gets every `world_size`-th
    index, all as many: the last ones are filled up from the beginning, or left out with `drop_last`.

    Parameters
    ----------
    dataset : TextureDataset, or a Subset of one
        Other datasets, which have no shards, are shuffled as a whole.
    seed : int
    mix : int
        Shards in a group.
    rank, world_size : int
        Which of how many processes this is.
    drop_last : bool

    Attributes
    ----------
    epoch, start : int
        Of the next pass.

    Examples
    --------
    >>> from gptex.learn import RecipeDataset
    >>> order = ShardShuffle(RecipeDataset("golkar-cranmer-2018", length=5), seed=1)
    >>> sorted(order), len(order)
    ([0, 1, 2, 3, 4], 5)

    To go on in the middle of epoch 3, after 640 items of this rank: ``order.set_epoch(3, start=640)``.
    """

    def __init__(
        self,
        dataset: Dataset[Any],
        *,
        seed: int = 0,
        mix: int = 4,
        rank: int = 0,
        world_size: int = 1,
        drop_last: bool = False,
    ) -> None:
        if mix < 1 or not 0 <= rank < world_size:
            raise GptexError(f"mix is at least 1 and rank is below world_size, not {mix}, {rank} and {world_size}")
        shards, self._shard = np.unique(_shard_of(dataset), return_inverse=True)
        self._shards = len(shards)
        self.seed, self.mix, self.rank, self.world_size = check_seed(seed), mix, rank, world_size
        whole, rest = divmod(len(self._shard), world_size)
        self._count = whole if drop_last or not rest else whole + 1
        self.epoch = self.start = 0

    def __len__(self) -> int:
        return self._count - self.start

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Make the next pass that of `epoch`, from the item `start` of this rank on.

        Raises
        ------
        GptexError
            If the epoch is negative or has no such item.
        """
        epoch, start = operator.index(epoch), operator.index(start)
        if epoch < 0 or not 0 <= start <= self._count:
            raise GptexError(f"an epoch is at least 0 and has {self._count} items, not {epoch} and {start}")
        self.epoch, self.start = epoch, start

    def __iter__(self) -> Iterator[int]:
        order, start = self._order(self.epoch), self.start
        self.set_epoch(self.epoch + 1)
        if (size := self._count * self.world_size) > len(order):
            order = np.resize(order, size)
        return iter(order[self.rank : size : self.world_size][start:].tolist())

    def _order(self, epoch: int) -> npt.NDArray[np.int64]:
        """All indices in the order of an epoch."""
        bits = stream(self.seed, epoch)
        group = permutation(bits, self._shards) // self.mix
        return np.lexsort((bits.random_raw(len(self._shard)), group[self._shard]))


def permutation(bits: np.random.PCG64, count: int) -> npt.NDArray[np.int64]:
    """The numbers below `count` in random order, the same with any version of numpy."""
    return np.argsort(bits.random_raw(count), kind="stable")


def _shard_of(dataset: Dataset[Any]) -> npt.NDArray[np.int64]:
    """Number of the shard that holds each item."""
    if isinstance(dataset, Subset):
        return _shard_of(dataset.dataset)[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, TextureDataset):
        counts = [shard.count for shard in dataset.reader.shards]
        return np.repeat(np.arange(len(counts)), counts)[: len(dataset)]
    return np.zeros(len(dataset), np.int64)  # type: ignore[arg-type]
