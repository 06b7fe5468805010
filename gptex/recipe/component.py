"""The component of a recipe: one random field of its textures."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, field_validator, model_validator

from gptex.errors import RecipeError
from gptex.fields.kernels import Kernel, PowerSpectrum, kernel_by_name
from gptex.fields.spectra import DEFAULT_TOLERANCE, SMALLEST_TOLERANCE
from gptex.recipe.model import Model
from gptex.recipe.names import check_name, scale_name

Number = Annotated[float, Field(allow_inf_nan=False)]


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
    except (TypeError, ValueError, OverflowError):
        raise RecipeError("a spectrum is a callable or a table of rows [q, P]") from None


class Component(Model):
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
        names = [scale_name(scale) for scale in length_scales]
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
