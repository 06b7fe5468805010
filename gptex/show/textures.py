"""Which textures are shown: some of a dataset's folder, or of a recipe, which are drawn on the spot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from gptex.catalog import find_recipe, is_folder
from gptex.errors import GptexError, nearest
from gptex.recipe import Recipe, Texture
from gptex.store.manifest import Manifest
from gptex.store.reader import SplitReader
from gptex.store.source import Contents

MAX_ROWS = 16


class Textures:
    """The textures of a split by their index, stored or drawn.

    Attributes
    ----------
    contents : Recipe or Source
    split : str
    count : int or None
        How many there are; None of a recipe, which has no end.

    Raises
    ------
    GptexError
        If there is no such source, or its folder has no such split.
    """

    def __init__(self, source: str | Path | Recipe, split: str | None = None) -> None:
        self._reader: SplitReader | None = None
        self.contents: Contents
        if is_folder(source):
            self.split = split or next(iter(Manifest.read(source).splits))
            self._reader = SplitReader(source, self.split)
            self.contents = self._reader.contents
        else:
            self.contents = recipe = find_recipe(source)
            self.split = split or next(iter(recipe.splits), "train")
        self.count = len(self._reader) if self._reader else None

    def __getitem__(self, index: int) -> Texture:
        if index < 0 or (self.count is not None and index >= self.count):
            has = "none below 0" if self.count is None else str(self.count)
            raise GptexError(f"there is no texture {index}: split {self.split!r} has {has}")
        if self._reader:
            images, labels, length_scales = self._reader.read([index])
            return Texture(images[0], int(labels[0]), tuple(length_scales[0].tolist()))
        assert isinstance(self.contents, Recipe)
        return self.contents.texture(self.split, index)

    def of_class(self, label: int, count: int) -> list[int]:
        """The first textures of a class, at most so many."""
        if self._reader and not isinstance(self.contents, Recipe):
            return [int(index) for index in np.flatnonzero(self._reader.labels == label)[:count]]
        step = self.contents.n_classes
        return [n for n in range(label, label + step * count, step) if self.count is None or n < self.count]

    def rows(self, columns: int, classes: Sequence[str | int] | None, indices: Sequence[int] | None) -> list[list[int]]:
        """The textures to show, a row a class: those at `indices`, or the first ones of some classes."""
        if indices:
            by_label: dict[int, list[int]] = {}
            for index in indices:
                by_label.setdefault(self[index].label, []).append(index)
            rows = [row[n : n + columns] for _, row in sorted(by_label.items()) for n in range(0, len(row), columns)]
            if len(rows) > MAX_ROWS:
                raise GptexError(f"{len(indices)} textures are too many for a picture: it has {MAX_ROWS} rows")
            return rows
        labels = dict.fromkeys(self.label(each) for each in classes) if classes else some(self.contents.n_classes)
        found = [row for label in list(labels)[:MAX_ROWS] if (row := self.of_class(label, columns))]  # a class may be empty
        if not found:
            raise GptexError(f"split {self.split!r} has no textures of these classes")
        return found

    def label(self, name: str | int) -> int:
        """The label of a class, given by its name or its label; names come first."""
        names = self.contents.classes
        if isinstance(name, str) and name in names:
            return names.index(name)
        if not (isinstance(name, int) or name.isdecimal()) or not 0 <= int(name) < len(names):
            hint = nearest(str(name), names) if len(names) <= MAX_ROWS else f"labels are 0 to {len(names) - 1}"
            raise GptexError(f"there is no class {name!r}: {hint}")
        return int(name)


def some(count: int) -> list[int]:
    """All of so many classes, or some that are evenly spaced."""
    rows = min(count, MAX_ROWS)
    return [row * count // rows for row in range(rows)]
