"""Datasets for torch: textures of a folder, or of a recipe with no files at all, as (image, target) pairs."""

from __future__ import annotations

import operator
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import numpy as np
import torch
from torch.utils.data import Dataset

from gptex.catalog import find_recipe, is_folder
from gptex.errors import GptexError
from gptex.pictures import new_figure
from gptex.recipe import Recipe
from gptex.recipe.names import check_split
from gptex.store.reader import Batch, SplitReader, positions
from gptex.store.source import Contents

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Target = Literal["label", "scales", "both"]
Item = tuple[Any, Any]  # whatever the transforms make of an image and its target


class LabelledTextures(Dataset[Item], ABC):
    """What the datasets have in common: items, classes, and a look at them. Subclasses say how textures are read.

    An item is a pair: the image, a float32 tensor of shape (1, *shape), and its target: by default the label, an int; with
    target "scales" the length scales in pixels, a float32 tensor with one number a component; with "both" a dict of
    `label` and `scales`. Indices may be negative, as of a list.

    Attributes
    ----------
    contents : Recipe or Source
        What the dataset is.
    split : str
    """

    def __init__(
        self,
        contents: Contents,
        split: str,
        transform: Callable[[Any], Any] | None,
        target_transform: Callable[[Any], Any] | None,
        target: Target,
    ) -> None:
        if target not in ("label", "scales", "both"):
            raise GptexError(f"target is label, scales or both, not {target!r}")
        self.contents, self.split = contents, split
        self.transform, self.target_transform, self.target = transform, target_transform, target

    @abstractmethod
    def read(self, indices: Sequence[int]) -> Batch:
        """The textures at `indices` as arrays, in the dataset's own dtype and without transforms."""

    @abstractmethod
    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Item:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Item]:
        """The items at `indices`; a DataLoader asks for a batch in this way, and what lies together is read together.

        They share their memory: whoever keeps a few of many keeps a `clone` of them.
        """
        batch = self.read(indices)
        images = torch.from_numpy(batch.images).float()[:, None]
        scales = torch.from_numpy(batch.length_scales).float()
        return [self._item(*texture) for texture in zip(images, batch.labels.tolist(), scales, strict=True)]

    def _item(self, image: torch.Tensor, label: int, scales: torch.Tensor) -> Item:
        target = {"label": label, "scales": scales, "both": {"label": label, "scales": scales}}[self.target]
        return (
            self.transform(image) if self.transform else image,
            self.target_transform(target) if self.target_transform else target,
        )

    @property
    def recipe(self) -> Recipe | None:
        """The recipe the textures were drawn from; None for textures from elsewhere."""
        return self.contents if isinstance(self.contents, Recipe) else None

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of labels."""
        return self.contents.classes

    @property
    def class_to_idx(self) -> dict[str, int]:
        """Label of each class by name."""
        return {name: label for label, name in enumerate(self.classes)}

    @property
    @abstractmethod
    def targets(self) -> list[int]:
        """Label of each item."""

    @property
    @abstractmethod
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that there are; a recipe can draw others too."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Pixels of each axis of an image, without the channel."""
        return self.contents.shape

    @abstractmethod
    def _where(self) -> str:
        """Where the textures are, for people."""

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.shape))
        names = ", ".join(self.classes[:8]) + (", …" if len(self.classes) > 8 else "")
        return (
            f"{type(self).__name__} {self.contents.name!r}, split {self.split!r}\n"
            f"    {len(self)} textures of {shape} pixels, {self._where()}\n"
            f"    {len(self.classes)} classes: {names}\n"
            f"    target: {self.target}"
        )

    def plot(self, index: int) -> Figure:
        """A picture of one texture, before transforms; of a 3-D one the middle slice of the first axis.

        Raises
        ------
        MissingExtraError
            Without matplotlib.
        """
        batch = self.read([index])
        image = batch.images[0].astype(np.float32)
        figure = new_figure()
        axes = figure.subplots()
        if image.ndim == 1:
            axes.plot(image, color="black", linewidth=0.8)
        else:
            axes.imshow(image[len(image) // 2] if image.ndim == 3 else image, cmap="gray")
            axes.set_axis_off()
        label = int(batch.labels[0])
        axes.set_title(f"{self.split} {index}, label {label}: {self.classes[label]}")
        return figure


class TextureDataset(LabelledTextures):
    """The textures of one split of a dataset folder, generated, fetched, imported or combined.

    Works with any number of DataLoader workers, however they are started: shards are opened in the process that reads them,
    a bounded number at a time, and a pickle of the dataset is small.

    Parameters
    ----------
    path : path
        The dataset's folder.
    split : str
    transform, target_transform : callable, optional
        Of the image and of the target.
    target : {"label", "scales", "both"}
        See `LabelledTextures`.
    length : int, optional
        Number of items, the first ones of the split, if not all of them.

    Raises
    ------
    DatasetError
        If there is no dataset; when items are read, if a shard is missing, damaged or another one than in the manifest.
    GptexError
        If it has no such split (the message lists those it has), or fewer textures than `length`.
    IndexError
        For an index out of range.

    Examples
    --------
    >>> import gptex, tempfile
    >>> component = gptex.Component(name="only", length_scales=[2, 4])
    >>> recipe = gptex.Recipe(name="small", shape=[32, 32], components=[component], splits={"train": 3})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = gptex.generate(recipe, folder, workers=1, progress=False)
    ...     dataset = TextureDataset(folder)
    ...     image, label = dataset[1]
    >>> image.shape, label, dataset.targets
    (torch.Size([1, 32, 32]), 1, [0, 1, 0, 1, 0, 1])
    """

    def __init__(
        self,
        path: str | Path,
        split: str = "train",
        transform: Callable[[Any], Any] | None = None,
        target_transform: Callable[[Any], Any] | None = None,
        target: Target = "label",
        *,
        length: int | None = None,
    ) -> None:
        self.reader = SplitReader(path, split)
        self._length = len(self.reader) if length is None else operator.index(length)
        if not 0 <= self._length <= len(self.reader):
            raise GptexError(f"split {split!r} of {path} has {len(self.reader)} textures, not {self._length}")
        super().__init__(self.reader.contents, split, transform, target_transform, target)

    def read(self, indices: Sequence[int]) -> Batch:
        """The textures at `indices` as arrays, in the dataset's own dtype and without transforms."""
        return self.reader.read(positions(indices, len(self), self.split))

    def __len__(self) -> int:
        return self._length

    @property
    def targets(self) -> list[int]:
        """Label of each item."""
        return cast("list[int]", self.reader.labels[: len(self)].tolist())

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the folder has."""
        return self.reader.splits

    def _where(self) -> str:
        count = len(self.reader.shards)
        return f"in {count} shard{'s' * (count > 1)} in {self.reader.folder}"


class RecipeDataset(LabelledTextures):
    """The textures of a recipe, drawn when they are asked for, with no files: the same that `gptex generate` would write.

    Parameters
    ----------
    recipe : Recipe, str or path
        Or the name of a preset, or the path of a recipe's file.
    split : str
    transform, target_transform : callable, optional
        Of the image and of the target.
    target : {"label", "scales", "both"}
        See `LabelledTextures`.
    length : int, optional
        Number of items, if not what the recipe counts: a split has as many textures as one likes, and a longer one begins
        with the shorter.

    Raises
    ------
    GptexError
        If there is no such recipe, or neither it nor `length` says how many textures there are.
    IndexError
        For an index out of range.

    Examples
    --------
    >>> dataset = RecipeDataset("golkar-cranmer-2018", length=8)
    >>> len(dataset), dataset.classes[dataset[5][1]]
    (8, '10-80')
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
    ) -> None:
        found = find_recipe(recipe)
        check_split(split)
        if length is None and split not in found.splits:
            counted = f"it counts {', '.join(found.splits)}" if found.splits else "it counts no textures"
            raise GptexError(
                f"recipe {found.name!r} does not count split {split!r} ({counted}): say how many, length=100 or {split}:100"
            )
        self._length = found.count(split) if length is None else operator.index(length)
        if self._length < 0:
            raise GptexError(f"a dataset has at least no textures, not {self._length}")
        super().__init__(found, split, transform, target_transform, target)
        self._recipe = found

    def read(self, indices: Sequence[int]) -> Batch:
        """The textures at `indices` as arrays, in the recipe's dtype and without transforms."""
        recipe, found = self._recipe, positions(indices, len(self), self.split)
        images = np.empty((len(found), *recipe.shape), recipe.dtype)
        for row, index in enumerate(found):
            images[row] = recipe.texture(self.split, index).image
        return Batch.of(recipe, images, np.array(found, np.int64) % recipe.n_classes)

    def __len__(self) -> int:
        return self._length

    @property
    def targets(self) -> list[int]:
        """Label of each item."""
        return [index % self._recipe.n_classes for index in range(len(self))]

    @property
    def splits(self) -> tuple[str, ...]:
        """Names of the splits that the recipe counts; it can draw others too."""
        return tuple(self._recipe.splits)

    def _where(self) -> str:
        return "drawn when they are asked for"


def open(source: Recipe | str | Path, split: str = "train", **options: Any) -> LabelledTextures:
    """The dataset of `source`: a `TextureDataset` of a folder, a `RecipeDataset` of a recipe, its file or a preset.

    Parameters
    ----------
    source : path, str or Recipe
    split : str
    **options
        Of the dataset.

    Raises
    ------
    GptexError
        If there is no such source, and as the dataset.
    """
    if is_folder(source):
        return TextureDataset(source, split, **options)
    return RecipeDataset(source, split, **options)


class Kept(Dataset[Item]):
    """A dataset whose items, (image, label) pairs without transforms that draw, are kept in memory."""

    def __init__(self, dataset: Dataset[Item]) -> None:
        items = [dataset[index] for index in range(len(dataset))]  # type: ignore[arg-type]
        self.images, self.labels = torch.stack([image for image, _ in items]), [label for _, label in items]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> Item:
        return self.images[index], self.labels[index]


def in_memory(parts: Mapping[str, Dataset[Item]], most: int) -> dict[str, Dataset[Item]]:
    """The parts, kept in memory if all of them together take at most so many bytes."""
    sizes = {name: len(part) * part[0][0].nbytes for name, part in parts.items()}  # type: ignore[arg-type]
    return {name: Kept(part) for name, part in parts.items()} if sum(sizes.values()) <= most else dict(parts)
