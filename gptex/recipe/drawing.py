"""Drawing: from a recipe, a split and an index to the pixels of a texture."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gptex.errors import RecipeError
from gptex.fields.sampler import Precision, Sampler, superpose
from gptex.fields.spectra import Shape
from gptex.fields.streams import normals, split_key, stream
from gptex.recipe.component import Component
from gptex.recipe.names import check_split

if TYPE_CHECKING:
    from gptex.recipe.recipe import Recipe


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


def draw_texture(recipe: Recipe, samplers: Sequence[Sequence[Sampler]], split: str, index: int) -> Texture:
    """As `Recipe.texture`, with a sampler for each length scale of each component."""
    check_split(split)
    try:
        index = operator.index(index)
    except TypeError:
        raise RecipeError(f"a texture's index is a whole number, not {index!r}") from None
    if not 0 <= index < 2**63:
        raise RecipeError(f"a texture's index is from 0 to 2**63 - 1, not {index}")
    label = index % recipe.n_classes
    key = split_key(split)
    chosen = [samplers[j][choice] for j, choice in enumerate(recipe.choices(label))]
    draws = [sampler.draw(stream(recipe.seed, key, index, j)) for j, sampler in enumerate(chosen)]
    image = superpose(chosen, draws, [component.weight for component in recipe.components], recipe.standardize)
    if recipe.noise_std:
        noise = stream(recipe.seed, key, index, len(chosen))
        image += image.dtype.type(recipe.noise_std) * normals(noise, recipe.shape, image.dtype)
    return Texture(image.astype(recipe.dtype, copy=False), label, recipe.length_scales(label))


def all_samplers(shape: Shape, precision: Precision, components: Sequence[Component]) -> list[list[Sampler]]:
    """A sampler for each length scale of each component; RecipeError if one cannot be honoured on the grid."""

    def sampler(component: Component, scale: float) -> Sampler:
        try:
            return Sampler(
                shape,
                component.kernel_object,
                scale,
                boundary=component.boundary,
                dtype=precision,
                tolerance=component.tolerance,
            )
        except RecipeError as error:
            raise RecipeError(f"component {component.name!r}: {error}") from None

    return [[sampler(component, scale) for scale in component.length_scales] for component in components]
