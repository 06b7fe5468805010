r"""What the textures of a class look like in theory, from the closed form of the kernels and not from the sampler.

A texture :math:`y` is seen through its periodogram :math:`|F_m|^2`, with

.. math:: F_m = \sum_x t(x)\, y(x)\, e^{-2\pi i m x / N} \Big/ \sqrt{\textstyle\sum t^2}.

The taper :math:`t` is 1 if all fields are periodic, when the :math:`F_m` are independent; otherwise it is
a Hann window on each axis, which keeps the power of other wave numbers out. Its expectation is exact,

.. math:: P_m = E |F_m|^2 = \sum_l C(l)\, A(l)\, e^{-2\pi i m l / N},

over all lags in the window, with :math:`C` the covariance and :math:`A` the autocorrelation of the taper (Percival & Walden,
*Spectral Analysis for Physical Applications*, 1993, chapter 6).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft
from scipy import special

from gptex.fields.kernels import CovarianceKernel, FloatArray
from gptex.fields.modes import Shape
from gptex.fields.spectra import spectrum
from gptex.fields.torus import periodic
from gptex.recipe import Component, Recipe

MOST_SUMMANDS = 2**28  # of covariances over images; beyond, the covariance is that of the spectrum
IMAGE_LEVEL = 1e-12
STEP = 0.005  # of a length scale, for derivatives

Lag = npt.NDArray[np.int64]
Covariance = Callable[[Sequence[Lag]], FloatArray]


def covariance(shape: Shape, component: Component, length_scale: float) -> Covariance:
    """The covariance of a component's field, of variance 1, as a function of whole lags, one array an axis."""
    kernel, tolerance = component.kernel_object, component.tolerance
    if not isinstance(kernel, CovarianceKernel):
        found = spectrum(shape, kernel, length_scale, component.boundary, tolerance)
    elif component.boundary == "open":
        return lambda lags: kernel.covariance(np.ix_(*lags), length_scale)
    elif (table := _image_sum(shape, kernel, length_scale)) is not None:
        return _around(table)
    else:  # a sum over images without end
        found = periodic(shape, kernel, length_scale, tolerance)
    half = np.zeros((*found.torus[:-1], found.torus[-1] // 2 + 1))
    half[found.index] = found.variance
    return _around(scipy.fft.irfftn(half, s=found.torus, norm="forward"))


def _around(torus: FloatArray) -> Covariance:
    """The covariance that a table has on a torus."""
    return lambda lags: torus[np.ix_(*(lag % n for lag, n in zip(lags, torus.shape, strict=True)))]


def _image_sum(shape: Shape, kernel: CovarianceKernel, length_scale: float) -> FloatArray | None:
    """Covariance summed over the images of a torus; None where there are too many."""
    reach = np.minimum(kernel.reach(IMAGE_LEVEL) * kernel.extents(length_scale, len(shape)), 2.0**30)
    shifts = [range(-(math.ceil(far + n - 1) // n), math.ceil(far) // n + 1) for far, n in zip(reach, shape, strict=True)]
    if math.prod(len(each) * n for each, n in zip(shifts, shape, strict=True)) > MOST_SUMMANDS:
        return None
    total: FloatArray = np.zeros(shape)
    for shift in itertools.product(*shifts):
        lags = np.ix_(*(np.arange(n) + s * n for n, s in zip(shape, shift, strict=True)))
        total += kernel.covariance(lags, length_scale)
    return total


def tapers(shape: Shape, tapered: bool) -> list[FloatArray]:
    """The taper of each axis, of mean square 1."""
    if not tapered:
        return [np.ones(n) for n in shape]
    windows = [1 - np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) if n > 1 else np.ones(1) for n in shape]
    return [window / math.sqrt(np.square(window).mean()) for window in windows]


def expected_periodogram(field: Covariance, windows: Sequence[FloatArray], wrapped: bool) -> FloatArray:
    """P_m for the modes of the half spectrum; `wrapped` where all is periodic and there is no taper."""
    return np.asarray(scipy.fft.rfftn(_weighted(field, windows, wrapped)).real)


def _weighted(field: Covariance, windows: Sequence[FloatArray], wrapped: bool) -> FloatArray:
    """C(l) A(l), folded into the window: its sum is P_0, its transform P_m."""
    shape = tuple(len(window) for window in windows)
    if wrapped:
        return field([np.arange(n) for n in shape])
    overlaps = [np.append(np.correlate(window, window, "full")[len(window) - 1 :], 0) / len(window) for window in windows]
    folded: FloatArray = np.zeros(shape)
    for shift in itertools.product((0, 1), repeat=len(shape)):  # lags from 0 on, and negative ones from -N on
        lags = [np.arange(n) - s * n for n, s in zip(shape, shift, strict=True)]
        part = field(lags)
        for weight in np.ix_(*(overlap[np.abs(lag)] for overlap, lag in zip(overlaps, lags, strict=True))):
            part = part * weight
        folded += part
    return folded


def rounding(variance: float, dtype: npt.DTypeLike) -> float:
    """Variance of what rounding to `dtype` adds to normal pixels of this variance: white noise, which float16 shows."""
    quantiles = math.sqrt(variance) * special.ndtri((np.arange(4096) + 0.5) / 4096)
    return float(np.square(np.spacing(np.abs(quantiles).astype(dtype)).astype(np.float64)).mean() / 12)


@dataclass(frozen=True)
class ClassTheory:
    """What to expect of the textures of one class.

    Attributes
    ----------
    power : half spectrum, float64
        P_m without standardization.
    reference : half spectrum, float64
        By which periodograms are divided: P_m, or with standardization nearly that of the textures.
    slopes : (components,) + half spectrum, float64
        d log(reference) / d log(length scale) of each component.
    covariances : list of arrays
        Covariance of pixels along each axis, at lags from 0 to half of the axis, without standardization.
    mean_variance : float
        Variance of the mean of a texture.
    variance : float
        Expected variance of the pixels of a texture about their mean.
    """

    power: FloatArray
    reference: FloatArray
    slopes: FloatArray
    covariances: list[FloatArray]
    mean_variance: float
    variance: float


class _Field(NamedTuple):
    """The same of a component of variance 1; the mean's variance without standardization."""

    power: FloatArray
    reference: FloatArray
    covariances: list[FloatArray]
    mean_variance: float


class Theory:
    """What to expect of the textures of a recipe, class by class.

    Attributes
    ----------
    tapered : bool
        Whether textures are seen through a Hann window, because some field is not periodic.
    exact : bool
        Whether modes are independent, as they are of periodic fields that are not standardized.
    windows : list of arrays
        The taper of each axis.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.tapered = any(component.boundary == "open" for component in recipe.components)
        self.exact = not self.tapered and not recipe.standardize
        self.windows = tapers(recipe.shape, self.tapered)
        self._squares = [component.weight**2 for component in recipe.components]
        self._noise = recipe.noise_std**2 + rounding(sum(self._squares) + recipe.noise_std**2, recipe.dtype)
        self._fields: dict[tuple[int, float], _Field] = {}
        self._slopes: dict[tuple[int, float], FloatArray] = {}

    def reference(self, label: int) -> FloatArray:
        """`ClassTheory.reference` of the class with this label, alone."""
        parts = (self._known(*each).reference for each in enumerate(self.recipe.length_scales(label)))
        return np.asarray(np.maximum(self._total(parts) + self._noise, np.finfo(float).tiny))

    def of_class(self, label: int) -> ClassTheory:
        """What to expect of the textures with this label."""
        scales = self.recipe.length_scales(label)
        fields = [self._known(*each) for each in enumerate(scales)]
        slopes = [square * self._slope(*each) for square, each in zip(self._squares, enumerate(scales), strict=True)]
        reference = self.reference(label)
        covariances = [self._total(along) for along in zip(*(field.covariances for field in fields), strict=True)]
        for along in covariances:
            along[0] += self._noise
        standardized = self.recipe.standardize
        means = 0.0 if standardized else self._total(field.mean_variance for field in fields)
        means += self._noise / math.prod(self.recipe.shape)
        about_zero = sum(self._squares) + self._noise if standardized else float(covariances[0][0])
        return ClassTheory(
            power=self._total(field.power for field in fields) + self._noise,
            reference=reference,
            slopes=np.array([slope / reference for slope in slopes]),
            covariances=covariances,
            mean_variance=means,
            variance=about_zero - means,
        )

    def _total(self, parts: Iterable[Any]) -> Any:
        """The sum of what components of variance 1 have."""
        return sum(square * part for square, part in zip(self._squares, parts, strict=True))

    def _known(self, number: int, scale: float) -> _Field:
        if (number, scale) not in self._fields:
            self._fields[number, scale] = self._field(number, scale)
        return self._fields[number, scale]

    def _slope(self, number: int, scale: float) -> FloatArray:
        """The derivative of a field's `reference` by log(length scale)."""
        if (number, scale) not in self._slopes:
            up, down = (self._field(number, scale * factor).reference for factor in (1 + STEP, 1 / (1 + STEP)))
            self._slopes[number, scale] = (up - down) / (2 * math.log1p(STEP))
        return self._slopes[number, scale]

    def _field(self, number: int, scale: float) -> _Field:
        """Standardized fields are nearly those scaled to their expected variance about the mean over the window."""
        component, shape = self.recipe.components[number], self.recipe.shape
        field = covariance(shape, component, scale)
        power = np.maximum(expected_periodogram(field, self.windows, wrapped=not self.tapered), 0)
        mean = float(_weighted(field, tapers(shape, False), component.boundary == "periodic").sum()) / math.prod(shape)
        zero = np.zeros(1, np.int64)
        covariances = [
            field([np.arange(n // 2 + 1) if other == axis else zero for other in range(len(shape))]).ravel()
            for axis, n in enumerate(shape)
        ]
        reference = power / (float(covariances[0][0]) - mean) if self.recipe.standardize else power
        return _Field(power, reference, covariances, mean)

    def transform(self, pixels: FloatArray) -> tuple[npt.NDArray[np.complex128], float]:
        """F_m of the half spectrum, and the power of all modes, each counted as often as it stands in the whole."""
        seen = pixels
        if self.tapered:
            seen = pixels.copy()
            for window in np.ix_(*self.windows):
                seen *= window
        return scipy.fft.rfftn(seen, norm="ortho"), dot(seen, seen)

    def periodogram(self, image: npt.NDArray[Any]) -> FloatArray:
        """|F_m|² of an image, half spectrum."""
        transformed, _ = self.transform(np.asarray(image, np.float64))
        return squared(transformed)


def dot(first: FloatArray, second: FloatArray) -> float:
    """Sum of the products, without BLAS, whose threads would be in each other's way."""
    axes = "ijk"[: first.ndim]
    return float(np.einsum(f"{axes},{axes}->", first, second))


def squared(transformed: npt.NDArray[np.complex128]) -> FloatArray:
    """|F|²."""
    return np.asarray(np.square(transformed.real) + np.square(transformed.imag))
