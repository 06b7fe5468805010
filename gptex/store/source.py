"""What a dataset is whose textures come from elsewhere: published, or composed of samples. It takes the place of a recipe."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

import numpy as np
from pydantic import Field, field_validator, model_validator

from gptex.errors import RecipeError
from gptex.recipe import Recipe, scale_name
from gptex.recipe.model import Model
from gptex.recipe.names import check_name

MAX_SOURCE_BYTES = 60_000  # HDF5 attributes hold 64 KiB
Pixels = Annotated[int, Field(ge=1)]
Scale = Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Source(Model):
    """Textures that gptex did not draw: how they look and where they come from.

    Attributes
    ----------
    name : str
    shape : tuple of int
        Pixels of each axis, one to three of them, in array order.
    dtype : {"float32", "float16", "float64"}
    class_scales : tuple of tuple of float
        Length scales in pixels of each class, in the order of labels; one a component.
    origin : dict
        Where the textures come from, for people and for comparison: the file's url and hash, its licence, how to cite it.

    Raises
    ------
    RecipeError
        For unknown keys and values out of range.
    """

    name: str = Field(min_length=1, max_length=200)
    shape: tuple[Pixels, ...] = Field(min_length=1, max_length=3)
    dtype: Literal["float32", "float16", "float64"]
    class_scales: tuple[tuple[Scale, ...], ...] = Field(min_length=1)
    origin: dict[str, Any]

    @field_validator("name")
    @classmethod
    def _printable(cls, name: str) -> str:
        return check_name(name)

    @model_validator(mode="after")
    def _limits(self) -> Self:
        if len({len(scales) for scales in self.class_scales}) > 1 or len(set(self.class_scales)) < len(self.class_scales):
            raise RecipeError("the classes do not differ, or have different numbers of length scales")
        if (size := len(self.to_json().encode())) >= MAX_SOURCE_BYTES:
            raise RecipeError(f"the source takes {size} bytes as JSON and may take {MAX_SOURCE_BYTES}")
        return self

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return len(self.class_scales)

    @property
    def classes(self) -> tuple[str, ...]:
        """Name of each class, its length scales joined by hyphens, in the order of labels."""
        return tuple("-".join(map(scale_name, scales)) for scales in self.class_scales)

    def length_scales(self, label: int) -> tuple[float, ...]:
        """Length scales of a class, in pixels, one a component."""
        return self.class_scales[label]

    @property
    def texture_bytes(self) -> int:
        """Bytes of one image."""
        return math.prod(self.shape) * np.dtype(self.dtype).itemsize

    def facts(self) -> dict[str, str]:
        """Where the textures come from, for people: what is said of it, in words."""
        told = {key: value for key, value in self.origin.items() if value not in ("", [], None)}
        return {printable(key.replace("_", " ")): printable(_text(value)) for key, value in told.items()}

    def to_json(self) -> str:
        """The source as JSON, the same for equal sources."""
        return self.model_dump_json()


def _text(value: Any) -> str:
    if isinstance(value, dict):
        return "; ".join(f"{key.replace('_', ' ')} {_text(each)}" for key, each in value.items() if each not in ("", [], None))
    return ", ".join(map(_text, value)) if isinstance(value, list | tuple) else str(value)


def printable(text: str) -> str:
    """A text on one line without control characters, which names of files and other people's manifests may have.

    >>> printable("two\\nlines")
    'two\\\\nlines'
    """
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)


Contents = Recipe | Source  # what a dataset is
