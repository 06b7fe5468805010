"""How well the classes of a recipe can be told apart at all: the best a classifier can do.

With periodic fields, noise and no standardization the modes of a texture are independent normal variables, so that the
likelihood of each class is known exactly,

    log L = -1/2 Σ (log P_m + |F_m|² / P_m),

and the most likely class is Bayes-optimal. Otherwise the same sum over the tapered periodogram is Whittle's approximation
(Whittle 1953): a good classifier, and a lower bound on the best one.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from gptex.catalog import find_recipe, is_folder
from gptex.errors import GptexError
from gptex.recipe import Recipe
from gptex.store.manifest import Manifest
from gptex.store.progress import progress as show_progress
from gptex.store.reader import SplitReader
from gptex.store.workers import available_cores
from gptex.trust.classification import Classification, classification
from gptex.trust.examine import theory_of
from gptex.trust.statistics import FLOOR, multiplicity
from gptex.trust.theory import Theory

TEXTURES = 400
MOST_NUMBERS = 2**28  # classes times modes
NOISE_STEPS = 12  # bisections, of …
LEAST_NOISE = 1e-3  # … the noise, from this share of the fields' standard deviation to its inverse
Get = Callable[[int], tuple[int, npt.NDArray[Any]]]  # from a number to a label and an image


@dataclass(frozen=True, kw_only=True)
class Oracle(Classification):
    """What the best classifier reaches.

    Attributes
    ----------
    name : str
        Of the recipe or the dataset.
    kind : {"Bayes-optimal", "Whittle"}
        Whether no classifier can do better, or the likelihood is Whittle's approximation.
    """

    name: str
    kind: str

    def __str__(self) -> str:
        best = "no classifier does better on the whole" if self.kind == "Bayes-optimal" else "the best classifier does no worse"
        return f"{self.name}: {self.kind} {self.accuracy_text}, {best}\n{self.components_text}"


def oracle(
    source: Recipe | str | Path,
    *,
    against: Recipe | str | Path | None = None,
    textures: int = TEXTURES,
    progress: bool = True,
) -> Oracle:
    """Classify textures by the likelihood of each class.

    Parameters
    ----------
    source : Recipe, str or path
        A dataset's folder, whose textures are classified; or a recipe, its file or a preset's name, from which some are drawn.
    against : Recipe, str or path, optional
        Of a dataset from elsewhere: what its textures should be.
    textures : int
        Largest number of textures to classify.
    progress : bool
        Show how far it is.

    Raises
    ------
    GptexError
        If there is no such source, or its classes times its modes are too many.

    Examples
    --------
    >>> from gptex import Component, Recipe
    >>> scales = Component(name="only", length_scales=[2, 3])
    >>> recipe = Recipe(name="two scales", shape=[32, 32], components=[scales], noise_std=0.5)
    >>> oracle(recipe, textures=20, progress=False).accuracy
    1.0
    """
    if textures < 1:
        raise GptexError(f"at least one texture is classified, not {textures}")
    if is_folder(source):
        manifest = Manifest.read(source)
        theory, count = theory_of(manifest, against), min(textures, manifest.textures)
        return _classified(manifest.contents.name, theory, _stored(source, manifest, count), count, progress)
    recipe = find_recipe(source)
    return _classified(recipe.name, recipe, partial(_drawn, recipe), textures, progress)


def _drawn(recipe: Recipe, index: int) -> tuple[int, npt.NDArray[Any]]:
    texture = recipe.texture("reference", index)
    return texture.label, texture.image


def _stored(folder: str | Path, manifest: Manifest, count: int) -> Get:
    """What reads one of so many textures of a dataset, evenly spaced."""
    places = [(split, index) for split, size in manifest.splits.items() for index in range(size.textures)]
    readers = {split: SplitReader(folder, split) for split in manifest.splits}

    def get(n: int) -> tuple[int, npt.NDArray[Any]]:
        split, index = places[n * len(places) // count]
        batch = readers[split].read([index])
        return int(batch.labels[0]), batch.images[0]

    return get


def _classified(name: str, recipe: Recipe, get: Get, count: int, progress: bool) -> Oracle:
    """The result of classifying textures."""
    classifier = _Classifier(recipe)

    def classify(n: int) -> tuple[int, int]:
        label, image = get(n)
        if not np.isfinite(image).all():
            raise GptexError(f"{name!r} has textures with values that are not finite: see `gptex verify --stats`")
        return label, classifier(image)

    confusion = np.zeros((recipe.n_classes, recipe.n_classes), np.int64)
    with ThreadPoolExecutor(available_cores()) as threads, show_progress("classify", count, progress) as bar:
        for label, found in threads.map(classify, range(count)):
            confusion[label, found] += 1
            bar.add(1, recipe.texture_bytes)
    return Oracle(name=name, kind=classifier.kind, **classification(recipe, confusion))


class _Classifier:
    """The most likely class of an image."""

    def __init__(self, recipe: Recipe) -> None:
        self._theory = Theory(recipe)
        exact = not self._theory.tapered and not recipe.standardize and recipe.noise_std > 0
        self.kind = "Bayes-optimal" if exact else "Whittle"
        if recipe.n_classes * math.prod(recipe.shape) > MOST_NUMBERS:
            raise GptexError(f"{recipe.n_classes} classes of {math.prod(recipe.shape)} pixels are too many to compare")
        powers = np.stack([self._theory.reference(label) for label in range(recipe.n_classes)])
        times = multiplicity(recipe.shape)
        means = (powers * times).sum(axis=tuple(range(1, powers.ndim)), keepdims=True) / math.prod(recipe.shape)
        self._used = np.ones(powers.shape[1:], bool) if exact else (powers >= FLOOR * means).all(axis=0)
        if recipe.standardize:
            self._used[(0,) * self._used.ndim] = False
        self._inverse = np.broadcast_to(times, self._used.shape)[self._used] / powers[:, self._used]
        self._logarithm = (np.log(powers[:, self._used]) * np.broadcast_to(times, self._used.shape)[self._used]).sum(axis=1)

    def __call__(self, image: npt.NDArray[Any]) -> int:
        return int(np.argmin(self._logarithm + self._inverse @ self._theory.periodogram(image)[self._used]))


def noise_for(recipe: Recipe, accuracy: float, *, textures: int = TEXTURES, progress: bool = True) -> tuple[float, Oracle]:
    """The `noise_std` that makes the classes of a recipe as hard to tell apart as wanted, and what the oracle then reaches.

    It is searched by bisection on drawn textures, always the same, whose accuracy falls with the noise.

    Raises
    ------
    GptexError
        If `accuracy` is not between that of guessing and 1, or not reached even next to without noise.
    """
    if recipe.n_classes == 1:
        raise GptexError(f"{recipe.name!r} has one class: there is nothing to tell apart")
    if not 1 / recipe.n_classes < accuracy < 1:
        raise GptexError(f"the accuracy is between {1 / recipe.n_classes:.3g} (guessing) and 1, not {accuracy}")
    signal = math.sqrt(sum(component.weight**2 for component in recipe.components))
    if signal == 0:
        raise GptexError(f"{recipe.name!r} has no fields of weight other than 0: there is nothing to tell apart")
    low, high = math.log(signal * LEAST_NOISE), math.log(signal / LEAST_NOISE)

    def at(logarithm: float) -> tuple[float, Oracle]:
        noisy = recipe.replace(noise_std=float(f"{math.exp(logarithm):.3g}"))
        bar.add(textures, 0)
        return noisy.noise_std, oracle(noisy, textures=textures, progress=False)

    with show_progress("noise", (NOISE_STEPS + 1) * textures, progress) as bar:
        noise, found = at(low)
        if found.accuracy < accuracy:
            raise GptexError(
                f"the accuracy of {recipe.name!r} is {found.accuracy:.3g} even next to without noise: the components hide each "
                "other, or the grid is too small; ask for less"
            )
        for _ in range(NOISE_STEPS):
            middle = (low + high) / 2
            noise, found = at(middle)
            low, high = (middle, high) if found.accuracy > accuracy else (low, middle)
    return noise, found
