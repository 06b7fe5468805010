"""Drawing: from a recipe, a split and an index to the pixels of a texture."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gptex.errors import RecipeError
from gptex.fields.modes import Shape
from gptex.fields.sampler import Amplitudes, Precision, Sampler, superpose
from gptex.fields.streams import normals, split_key, stream
from gptex.recipe.component import Component
from gptex.recipe.names import check_split

if TYPE_CHECKING:
    from gptex.recipe.recipe import Recipe

KEPT = 1.5  # textures' worth of samplers …
KEPT_BYTES = 4 * 2**20  # … or this, for small textures


class Texture(NamedTuple):
    """One labelled image.

    Attributes
    ----------
    image : ndarray of the recipe's shape and dtype
    label : int
        Class number, an index into `Recipe.classes`.
    length_scales : tuple of float
        In pixels, one a component.
    """

    image: npt.NDArray[np.floating[Any]]
    label: int
    length_scales: tuple[float, ...]


class Samplers:
    """The samplers of a recipe, one for each length scale of each component, set up when first needed.

    One of all modes takes a quarter of a texture's memory, and setting it up as long as drawing several. Those that fit
    into `KEPT` textures are kept, and besides them the last one of each component. Which are kept is settled first come,
    first served, because textures go through the classes in turn: to drop the least recently used would be to drop each
    just before its turn. Threads may share them; two may then set up the same one.

    Parameters
    ----------
    shape : tuple of int
        Pixels of each axis.
    dtype : {"float32", "float64"}
        Of the fields.
    components : sequence of Component
    """

    def __init__(self, shape: Shape, dtype: Precision, components: Sequence[Component]) -> None:
        self._shape, self._dtype, self._components = shape, dtype, components
        self._kept: dict[tuple[int, int], Sampler] = {}
        self._last: dict[int, tuple[int, Sampler]] = {}
        self._losses: dict[tuple[int, int], float] = {}
        self._room = max(KEPT * math.prod(shape) * np.dtype(dtype).itemsize, KEPT_BYTES)

    def get(self, number: int, choice: int) -> Sampler:
        """The sampler of length scale `choice` of component `number`; RecipeError if the grid cannot honour it."""
        if sampler := self._kept.get((number, choice)):
            return sampler
        last = self._last.pop(number, None)
        if last and last[0] == choice:
            sampler = last[1]
        else:
            del last  # before another one takes its memory
            sampler = self._set_up(self._components[number], choice)
            self._losses[number, choice] = sampler.loss
            if sampler.nbytes <= self._room:
                self._room -= sampler.nbytes
                self._kept[number, choice] = sampler
                return sampler
        self._last[number] = choice, sampler
        return sampler

    def loss(self, number: int, choice: int) -> float:
        """Declared error of that sampler's covariance; RecipeError if the grid cannot honour it."""
        return self._losses[number, choice] if (number, choice) in self._losses else self.get(number, choice).loss

    def _set_up(self, component: Component, choice: int) -> Sampler:
        try:
            return Sampler(
                self._shape,
                component.kernel_object,
                component.length_scales[choice],
                boundary=component.boundary,
                dtype=self._dtype,
                tolerance=component.tolerance,
            )
        except RecipeError as error:
            raise RecipeError(f"component {component.name!r}: {error}") from None


def draw_texture(recipe: Recipe, samplers: Samplers, split: str, index: int) -> Texture:
    """As `Recipe.texture`, with its samplers."""
    check_split(split)
    try:
        index = operator.index(index)
    except TypeError:
        raise RecipeError(f"a texture's index is a whole number, not {index!r}") from None
    if not 0 <= index < 2**63:
        raise RecipeError(f"a texture's index is from 0 to 2**63 - 1, not {index}")
    label = index % recipe.n_classes
    key = split_key(split)
    chosen = [samplers.get(number, choice) for number, choice in enumerate(recipe.choices(label))]

    def draw(number: int) -> Amplitudes:
        return chosen[number].draw(stream(recipe.seed, key, index, number))

    image = superpose(chosen, draw, [component.weight for component in recipe.components], recipe.standardize)
    if recipe.noise_std:
        noise = stream(recipe.seed, key, index, len(chosen))
        image += image.dtype.type(recipe.noise_std) * normals(noise, recipe.shape, image.dtype)
    return Texture(image.astype(recipe.dtype, copy=False), label, recipe.length_scales(label))
