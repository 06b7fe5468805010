"""The recipe itself: what a dataset is, as data that can be checked, written and read back."""

from __future__ import annotations

import json
import math
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from gptex.errors import RecipeError, nearest
from gptex.fields.sampler import Sampler, check_shape
from gptex.fields.streams import check_seed
from gptex.recipe.component import Component, Number
from gptex.recipe.drawing import Samplers, Texture, draw_texture
from gptex.recipe.model import Model
from gptex.recipe.names import check_name, check_split, scale_name
from gptex.recipe.text import parse_json, parse_toml, toml_lines

MAX_RECIPE_BYTES = 60_000  # HDF5 attributes hold 64 KiB
MAX_CLASSES = 100_000


class Recipe(Model):
    """What a dataset is. Its textures depend on every key but `splits`, which only counts them.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Pixels of each axis, one to three of them, in array order.
    components : tuple of Component
    seed : int
        From 0 to 2**128 - 1.
    dtype : {"float32", "float16", "float64"}
        Of the images. Fields are computed in float32 for float16.
    standardize : bool
        Shift each component's field to mean 0 and scale it to standard deviation 1 before weighting. Off, textures are
        true draws of a Gaussian process.
    noise_std : float
        Standard deviation of white noise added to each texture.
    splits : dict of str to int
        Textures per class of each split.

    Raises
    ------
    RecipeError
        For unknown keys and values out of range.

    Examples
    --------
    >>> fine = Component(name="fine", length_scales=[2, 3])
    >>> coarse = Component(name="coarse", length_scales=[8], weight=2)
    >>> recipe = Recipe(name="two scales", shape=[64, 64], components=[fine, coarse], splits={"train": 5})
    >>> recipe.classes
    ('2-8', '3-8')
    >>> recipe.texture("train", 3).length_scales
    (3.0, 8.0)
    """

    name: str = Field(min_length=1, max_length=200)
    shape: tuple[int, ...]
    seed: int = 0
    dtype: Literal["float32", "float16", "float64"] = "float32"
    standardize: bool = False
    noise_std: Number = Field(0.0, ge=0)
    components: tuple[Component, ...] = Field(min_length=1)
    splits: dict[str, Annotated[int, Field(ge=1, lt=2**40)]] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        return check_name(name)

    @field_validator("shape")
    @classmethod
    def _shape(cls, shape: tuple[int, ...]) -> tuple[int, ...]:
        return check_shape(shape)

    @field_validator("seed")
    @classmethod
    def _seed(cls, seed: int) -> int:
        return check_seed(seed)

    @field_validator("splits")
    @classmethod
    def _split_names(cls, splits: dict[str, int]) -> dict[str, int]:
        for split in splits:
            check_split(split)
            if [other.casefold() for other in splits].count(split.casefold()) > 1:
                raise RecipeError(f"split {split!r} stands twice but for upper and lower case")
        return splits

    @model_validator(mode="after")
    def _limits(self) -> Self:
        names = [component.name for component in self.components]
        for name in names:
            if names.count(name) > 1:
                raise RecipeError(f"components: the name {name!r} stands twice")
        for component in self.components:
            try:
                component.kernel_object.direction(len(self.shape))
            except RecipeError as error:
                raise RecipeError(f"component {component.name!r}: {error}") from None
        largest = float(np.finfo(self.dtype).max) / 100  # no normal is larger than 7
        if sum(abs(component.weight) for component in self.components) + self.noise_std > largest:
            raise RecipeError(f"components: weights and noise_std of more than {largest:.3g} in all do not fit {self.dtype}")
        least = 10 * float(np.finfo(self.dtype).tiny)
        if sum(abs(component.weight) for component in self.components) + self.noise_std < least:
            raise RecipeError(f"components: weights and noise_std below {least:.2g} in all leave nothing in {self.dtype}")
        if self.standardize and math.prod(self.shape) == 1:
            raise RecipeError("standardize: an image of one pixel has no standard deviation")
        if self.n_classes > MAX_CLASSES:
            raise RecipeError(f"components: {self.n_classes} classes are more than {MAX_CLASSES}")
        if self._storable() and (size := len(self.to_json().encode())) >= MAX_RECIPE_BYTES:
            raise RecipeError(f"the recipe takes {size} bytes as JSON and may take {MAX_RECIPE_BYTES}: shorten its tables")
        return self

    # -- classes and labels

    @property
    def n_classes(self) -> int:
        """Number of classes: one for each choice of a length scale from each component."""
        return math.prod(len(component.length_scales) for component in self.components)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, its length scales joined by hyphens, in the order of labels."""
        return tuple("-".join(map(scale_name, self.length_scales(label))) for label in range(self.n_classes))

    def choices(self, label: int) -> tuple[int, ...]:
        """Which length scale each component has in class `label`, by its place; the first component changes fastest.

        Raises
        ------
        RecipeError
            If there is no such label.
        """
        if not 0 <= label < self.n_classes:
            raise RecipeError(f"label {label} is not from 0 to {self.n_classes - 1}")
        choices = []
        for component in self.components:
            label, choice = divmod(label, len(component.length_scales))
            choices.append(choice)
        return tuple(choices)

    def length_scales(self, label: int) -> tuple[float, ...]:
        """Length scales in pixels of class `label`, one a component; RecipeError if there is no such label."""
        return tuple(c.length_scales[choice] for c, choice in zip(self.components, self.choices(label), strict=True))

    def count(self, split: str) -> int:
        """Number of textures in `split`; RecipeError if `splits` does not count it."""
        if split not in self.splits:
            raise RecipeError(f"the recipe counts no split {split!r}: {nearest(split, list(self.splits))}")
        return self.splits[split] * self.n_classes

    @property
    def texture_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    # -- textures

    def texture(self, split: str, index: int) -> Texture:
        """Texture `index` of `split`: a pure function, the same whenever and wherever it is called.

        A split is a named stream without end: neither its name nor `index` need be among those `splits` counts.

        Raises
        ------
        RecipeError
            If a length scale of its class cannot be honoured on the grid, `split` cannot be a split's name, or `index` is
            not a whole number from 0 to 2**63 - 1.
        """
        return draw_texture(self, self._samplers, split, index)

    def sampler(self, component: int, choice: int) -> Sampler:
        """The sampler of length scale number `choice` of component number `component`; RecipeError as of `texture`."""
        return self._samplers.get(component, choice)

    @cached_property
    def _samplers(self) -> Samplers:
        return Samplers(self.shape, "float64" if self.dtype == "float64" else "float32", self.components)

    def losses(self) -> dict[str, dict[str, float]]:
        """Declared error of the covariance by component and length scale, as a share of the component's variance.

        Raises
        ------
        RecipeError
            If a component cannot be honoured on the grid.
        """
        return {
            component.name: {
                scale_name(scale): self._samplers.loss(number, choice) for choice, scale in enumerate(component.length_scales)
            }
            for number, component in enumerate(self.components)
        }

    # -- files

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The recipe written in TOML in `text`; RecipeError if it is no TOML or no recipe."""
        return cls(**parse_toml(text))

    @classmethod
    def read(cls, path: str | Path | Traversable) -> Self:
        """The recipe in the TOML file at `path`.

        Raises
        ------
        RecipeError
            If the file cannot be read, or is no TOML or no recipe; the message names it.
        """
        source = Path(path) if isinstance(path, str) else path
        try:
            return cls.from_toml(source.read_text(encoding="utf-8"))
        except OSError as error:
            raise RecipeError(f"cannot read a recipe from {source}: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise RecipeError(f"{source} is not text in UTF-8 (byte {error.start}): save it as UTF-8") from None
        except RecipeError as error:
            raise RecipeError(f"{source}: {error}") from None

    def to_toml(self) -> str:
        """The recipe as a TOML file, which `from_toml` reads back to an equal one; RecipeError if a spectrum is a callable."""
        data = self._data()
        components, splits = data.pop("components"), data.pop("splits")
        lines = list(toml_lines(data))
        for component in components:
            lines += ["", "[[components]]", *toml_lines(component)]
        lines += ["", "[splits]  # textures per class", *toml_lines(splits)]
        return "\n".join(lines) + "\n"

    def to_json(self) -> str:
        """The recipe without its `splits` as canonical JSON: what a shard holds, and what makes two recipes one.

        Raises
        ------
        RecipeError
            If a spectrum is a callable.
        """
        data = self._data()
        del data["splits"]
        return json.dumps(data, sort_keys=True, separators=(",", ":"), ensure_ascii=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The recipe, without splits, in the JSON of `to_json`; RecipeError if it is no JSON or no recipe."""
        return cls(**parse_json(text))

    def same_textures(self, other: Recipe) -> bool:
        """Whether the two recipes make the same textures under the same name, however many."""
        return self.replace(splits={}) == other.replace(splits={})

    @classmethod
    def _hint(cls, key: str) -> str:
        return "it belongs under [[components]]" if key in Component.model_fields else super()._hint(key)

    def _storable(self) -> bool:
        return not any(callable(component.spectrum) for component in self.components)

    def _data(self) -> dict[str, Any]:
        """Plain data for JSON and TOML: no None, nothing callable."""
        if not self._storable():
            raise RecipeError("a spectrum given as a callable cannot be written down: use its table, PowerSpectrum.tabulate")
        return dict(self.model_dump(mode="json", exclude_none=True))
