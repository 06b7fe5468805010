"""Fresh textures without end: no texture is seen twice, however long the training."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import IterableDataset, get_worker_info

from gptex.errors import GptexError
from gptex.learn.datasets import Item, RecipeDataset, Target
from gptex.recipe import Recipe

ENDLESS = 2**62


class RecipeStream(IterableDataset[Item]):
    """The textures of a recipe one after the other, drawn as they are asked for, so many an epoch or without end.

    With DataLoader workers and several ranks each draws its own share, from all classes in turn: all together draw the
    textures that one process alone would draw, each once.

    Call `set_epoch` before each pass, as with torch's `DistributedSampler`: without it a pass is the one before again. To
    resume in the middle of an epoch, say where: ``set_epoch(epoch, start)``. Nothing is then left out or drawn twice if each
    worker of each rank had drawn as many, as they have after a multiple of as many batches as there are workers.

    Parameters
    ----------
    recipe, split, transform, target_transform, target
        As of `RecipeDataset`.
    length : int, optional
        Textures of an epoch, which has others than the one before; by default a single epoch has no end.
    rank, world_size : int
        Which of how many processes this is.

    Attributes
    ----------
    textures : RecipeDataset
        Those it draws: with classes, shape, recipe and so on.

    Examples
    --------
    >>> from itertools import islice
    >>> stream = RecipeStream("golkar-cranmer-2018", length=4)
    >>> [label for image, label in stream]
    [0, 1, 2, 3]
    """

    def __init__(
        self,
        recipe: Recipe | str | Path,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        target: Target = "label",
        *,
        length: int | None = None,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if not 0 <= rank < world_size or (length is not None and length < 1):
            raise GptexError(f"rank is below world_size and length at least 1, not {rank}, {world_size} and {length}")
        self.textures = RecipeDataset(recipe, split, transform, target_transform, target, length=ENDLESS)
        self.length, self.rank, self.world_size = length, rank, world_size
        self._place = torch.zeros(2, dtype=torch.int64)  # epoch and start …
        self._place.share_memory_()  # type: ignore[no-untyped-call]  # … which workers that persist see change

    def set_epoch(self, epoch: int, start: int = 0) -> None:
        """Make the next pass that of `epoch`, from its texture `start` on, counted over all ranks and workers.

        Raises
        ------
        GptexError
            If there is no such epoch or texture.
        """
        epoch, start = operator.index(epoch), operator.index(start)
        if epoch < 0 or start < 0 or (self.length is None and epoch) or (self.length is not None and start > self.length):
            raise GptexError(f"there is no texture {start} in epoch {epoch} of {self.length or 'endlessly many'}")
        self._place[:] = torch.tensor([epoch, start])

    def __iter__(self) -> Iterator[Item]:
        worker = get_worker_info()
        workers, number = (worker.num_workers, worker.id) if worker else (1, 0)
        epoch, start = self._place.tolist()
        first, end = (0, ENDLESS) if self.length is None else (epoch * self.length, (epoch + 1) * self.length)
        readers, reader = self.world_size * workers, self.rank * workers + number
        classes = len(self.textures.classes)
        same = classes // math.gcd(classes, readers)  # turns in which a reader with a fixed place meets no class twice
        for turn, place in enumerate(range(first + start, end, readers)):
            index = place + (reader + turn // same) % readers  # then places change, so that each meets all classes
            if index < end:
                yield self.textures[index]
