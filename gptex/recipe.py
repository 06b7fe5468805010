"""The recipe: what a dataset is, as data; and the texture, a pure function of (recipe, split, index).

This module may import the mathematics (`gptex.fields`) but knows nothing of files beyond the recipe's own.
"""

from __future__ import annotations

import json
import math
import operator
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from gptex.errors import RecipeError, nearest
from gptex.fields.kernels import Kernel, PowerSpectrum, kernel_by_name
from gptex.fields.sampler import Sampler, check_shape, superpose
from gptex.fields.spectra import DEFAULT_TOLERANCE, SMALLEST_TOLERANCE
from gptex.fields.streams import check_seed, normals, split_key, stream

MAX_RECIPE_BYTES = 60_000  # HDF5 attributes hold 64 KiB
MAX_CLASSES = 100_000
PLAIN_WORDS = {  # for pydantic's
    "Input should be": "must be",
    "a valid tuple": "a list",
    "a valid dictionary": "a table",
    "Tuple should have": "must have",
    "String should have": "must have",
    " after validation, not 0": "",
}
SPLIT_NAME = re.compile(r"[^\W_][\w-]{0,63}")

Number = Annotated[float, Field(allow_inf_nan=False)]


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


class _Model(BaseModel):
    """A frozen model whose errors are RecipeErrors of one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise RecipeError(self._one_line(error)) from None

    def __reduce__(self) -> Any:
        return type(self)._from_data, (self.model_dump(),)  # the plain data, not the samplers set up so far

    def replace(self, /, **changes: Any) -> Self:
        """The same with other values for some keys, checked anew."""
        return type(self)(**{**self.model_dump(), **changes})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As `replace`: pydantic's own would copy what was derived from the old values."""
        return self.replace(**(update or {}))

    @classmethod
    def _from_data(cls, data: dict[str, Any]) -> Self:
        return cls(**data)

    @classmethod
    def _one_line(cls, error: ValidationError) -> str:
        """The problem that explains most, as a sentence with its place."""
        problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        place, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            belongs = cls is Recipe and place[-1] in Component.model_fields
            hint = "it belongs under [[components]]" if belongs else nearest(str(place[-1]), list(cls.model_fields))
            message = f"there is no such key: {hint}"
        elif problem["type"] == "missing":
            message = "this key is missing"
        elif problem["type"] != "value_error":
            for theirs, ours in PLAIN_WORDS.items():
                message = message.replace(theirs, ours)
            message = f"{message}, not {problem['input']!r}"
        where = ".".join(str(step) for step in place)
        return f"{where}: {message}" if where else message


def _table(value: Any) -> Any:
    """Rows of a spectrum's table, or of a PowerSpectrum's, as tuples; a callable is left alone."""
    if isinstance(value, PowerSpectrum):
        if value.aspect != 1:
            raise RecipeError("the aspect and angle of a PowerSpectrum are keys of the component")
        value = value.power
    if value is None or callable(value):
        return value
    try:
        return tuple((float(q), float(p)) for q, p in value)
    except (TypeError, ValueError):
        raise RecipeError("a spectrum is a callable or a table of rows [q, P]") from None


class Component(_Model):
    """One Gaussian random field of a texture, with the length scales it can have.

    Attributes
    ----------
    name : str
        For the reader, and the key of the component's losses; each component of a recipe has another.
    length_scales : tuple of float
        Candidate length scales in pixels; the class says which one a texture has.
    kernel : str
        squared-exponential, matern, exponential, rational-quadratic or spectrum.
    weight : float
        What the field is multiplied by in the sum.
    boundary : {"periodic", "open"}
        A torus, or free edges.
    aspect, angle : float
        Stretch along one direction and that direction in degrees, see `gptex.fields.kernels`.
    nu, alpha : float, optional
        Of the Matérn (default 1.5) and the rational quadratic kernel (default 1).
    spectrum : table of (q, P), callable or PowerSpectrum
        Of the kernel "spectrum", see `gptex.fields.PowerSpectrum`.
    tolerance : float
        Largest error of the covariance, as a share of the variance.

    Raises
    ------
    RecipeError
        For unknown keys and values out of range.
    """

    name: str = Field(min_length=1, max_length=100)
    kernel: str = "squared-exponential"
    length_scales: tuple[Annotated[Number, Field(gt=0)], ...] = Field(min_length=1)
    weight: Number = 1.0
    boundary: Literal["periodic", "open"] = "periodic"
    aspect: Annotated[Number, Field(gt=0)] = 1.0
    angle: Number = 0.0
    nu: float | None = None
    alpha: float | None = None
    spectrum: Annotated[tuple[tuple[float, float], ...] | Callable[..., Any] | None, BeforeValidator(_table)] = None
    tolerance: float = Field(DEFAULT_TOLERANCE, ge=SMALLEST_TOLERANCE, lt=1)

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        return check_name(name)

    @field_validator("length_scales")
    @classmethod
    def _distinct(cls, length_scales: tuple[float, ...]) -> tuple[float, ...]:
        names = [f"{scale:.12g}" for scale in length_scales]  # as in the classes' names
        for name in names:
            if names.count(name) > 1:
                raise RecipeError(f"length scale {name} stands twice")
        return length_scales

    @model_validator(mode="after")
    def _kernel_fits(self) -> Self:
        _ = self.kernel_object
        return self

    def __repr_args__(self) -> Iterator[tuple[str | None, Any]]:
        return ((key, value) for key, value in super().__repr_args__() if value is not None)

    @property
    def kernel_text(self) -> str:
        """The kernel with its parameters, for people."""
        kernel = self.kernel_object
        given = {"ν": getattr(kernel, "nu", None) if self.kernel == "matern" else None, "α": getattr(kernel, "alpha", None)}
        words = [self.kernel, *(f"{letter} = {value:g}" for letter, value in given.items() if value is not None)]
        if self.spectrum is not None:
            words.append("a callable" if callable(self.spectrum) else f"a table of {len(self.spectrum)} rows")
        if self.aspect != 1:
            words.append(f"stretched by {self.aspect:g} at {self.angle:g}°")
        return ", ".join(words)

    @cached_property
    def kernel_object(self) -> Kernel:
        """The kernel with its parameters."""
        if self.spectrum is not None and self.kernel != "spectrum":
            raise RecipeError(f"kernel {self.kernel} has no parameter 'spectrum', which goes with kernel spectrum")
        given = {"nu": self.nu, "alpha": self.alpha, "power": self.spectrum}
        parameters = {key: value for key, value in given.items() if value is not None}
        return kernel_by_name(self.kernel, aspect=self.aspect, angle=self.angle, **parameters)


class Recipe(_Model):
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
        return tuple("-".join(f"{scale:.12g}" for scale in self.length_scales(label)) for label in range(self.n_classes))

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
            If the recipe cannot be honoured on its grid, `split` cannot be a split's name, or `index` is not a whole number
            from 0 to 2**63 - 1.
        """
        check_split(split)
        try:
            index = operator.index(index)
        except TypeError:
            raise RecipeError(f"a texture's index is a whole number, not {index!r}") from None
        if not 0 <= index < 2**63:
            raise RecipeError(f"a texture's index is from 0 to 2**63 - 1, not {index}")
        label = index % self.n_classes
        key = split_key(split)
        samplers = [self._samplers[j][choice] for j, choice in enumerate(self.choices(label))]
        draws = [sampler.draw(stream(self.seed, key, index, j)) for j, sampler in enumerate(samplers)]
        image = superpose(samplers, draws, [component.weight for component in self.components], self.standardize)
        if self.noise_std:
            image += image.dtype.type(self.noise_std) * normals(
                stream(self.seed, key, index, len(samplers)), self.shape, image.dtype
            )
        return Texture(image.astype(self.dtype, copy=False), label, self.length_scales(label))

    @cached_property
    def _samplers(self) -> list[list[Sampler]]:
        """A sampler for each length scale of each component."""
        precision: Literal["float32", "float64"] = "float64" if self.dtype == "float64" else "float32"

        def sampler(component: Component, scale: float) -> Sampler:
            try:
                return Sampler(
                    self.shape,
                    component.kernel_object,
                    scale,
                    boundary=component.boundary,
                    dtype=precision,
                    tolerance=component.tolerance,
                )
            except RecipeError as error:
                raise RecipeError(f"component {component.name!r}: {error}") from None

        return [[sampler(component, scale) for scale in component.length_scales] for component in self.components]

    def losses(self) -> dict[str, dict[str, float]]:
        """Declared error of the covariance by component and length scale, as a share of the component's variance.

        Raises
        ------
        RecipeError
            If a component cannot be honoured on the grid.
        """
        return {
            component.name: {f"{sampler.length_scale:.12g}": sampler.loss for sampler in samplers}
            for component, samplers in zip(self.components, self._samplers, strict=True)
        }

    # -- files

    @classmethod
    def from_toml(cls, text: str) -> Self:
        """The recipe written in TOML in `text`; RecipeError if it is no TOML or no recipe."""
        try:
            return cls(**tomllib.loads(text))
        except tomllib.TOMLDecodeError as error:
            raise RecipeError(f"not TOML: {error}") from None

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
            raise RecipeError(f"cannot read a recipe from {source}: {error}") from None
        except RecipeError as error:
            raise RecipeError(f"{source}: {error}") from None

    def to_toml(self) -> str:
        """The recipe as a TOML file, which `from_toml` reads back to an equal one; RecipeError if a spectrum is a callable."""
        data = self._data()
        components, splits = data.pop("components"), data.pop("splits")
        lines = list(_toml_lines(data))
        for component in components:
            lines += ["", "[[components]]", *_toml_lines(component)]
        lines += ["", "[splits]  # textures per class", *_toml_lines(splits)]
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
        try:
            data = json.loads(text)
        except ValueError as error:
            raise RecipeError(f"not JSON: {error}") from None
        if not isinstance(data, dict):
            raise RecipeError("a recipe is a JSON object")
        return cls(**data)

    def same_textures(self, other: Recipe) -> bool:
        """Whether the two recipes make the same textures under the same name, however many."""
        return self.replace(splits={}) == other.replace(splits={})

    def _storable(self) -> bool:
        return not any(callable(component.spectrum) for component in self.components)

    def _data(self) -> dict[str, Any]:
        """Plain data for JSON and TOML: no None, nothing callable."""
        if not self._storable():
            raise RecipeError("a spectrum given as a callable cannot be written down: use its table, PowerSpectrum.tabulate")
        return dict(self.model_dump(mode="json", exclude_none=True))


def check_name(name: str) -> str:
    """`name` if it is printable text: it must fit on a line."""
    if not name.isprintable():
        raise RecipeError(f"a name is printable text, not {name!r}")
    return name


def check_split(name: str) -> str:
    """`name` if it can be a split's name: it is also a folder's."""
    if not isinstance(name, str) or not SPLIT_NAME.fullmatch(name):
        raise RecipeError(f"a split's name has letters, digits, - and _ (at most 64, a letter or digit first), not {name!r}")
    return name


def _toml_lines(table: dict[str, Any]) -> Iterator[str]:
    """Keys and values of a table as TOML, whose strings, numbers and arrays are written as JSON's."""
    for key, value in table.items():
        bare = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
        yield f"{bare} = {json.dumps(value, ensure_ascii=False)}"
