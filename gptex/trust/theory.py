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
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import scipy.fft

from gptex.fields.kernels import CovarianceKernel, FloatArray, Kernel
from gptex.fields.modes import Shape
from gptex.fields.spectra import Boundary, spectrum
from gptex.recipe import Recipe

MOST_SUMMANDS = 2**28  # of covariances over images; beyond, the covariance is that of the spectrum
IMAGE_LEVEL = 1e-12
STEP = 0.005  # of a length scale, for derivatives

Lag = npt.NDArray[np.int64]
Covariance = Callable[[Sequence[Lag]], FloatArray]


def covariance(shape: Shape, kernel: Kernel, length_scale: float, boundary: Boundary) -> Covariance:
    """The covariance of a field of variance 1 as a function of whole lags, one array an axis."""
    if boundary == "open" and isinstance(kernel, CovarianceKernel):
        return lambda lags: kernel.covariance(np.ix_(*lags), length_scale)
    table = _image_sum(shape, kernel, length_scale) if boundary == "periodic" else None
    if table is None:  # a given power spectrum, or a sum over images without end
        found = spectrum(shape, kernel, length_scale, boundary, 1e-8)
        half = np.zeros((*found.torus[:-1], found.torus[-1] // 2 + 1))
        half[found.index] = found.variance
        table = scipy.fft.irfftn(half, s=found.torus, norm="forward")
    torus = table
    return lambda lags: torus[np.ix_(*(lag % n for lag, n in zip(lags, torus.shape, strict=True)))]


def _image_sum(shape: Shape, kernel: Kernel, length_scale: float) -> FloatArray | None:
    """Covariance summed over the images of a torus; None where there are too many, or it has no closed form."""
    if not isinstance(kernel, CovarianceKernel):
        return None
    reach = kernel.reach(IMAGE_LEVEL) * kernel.extents(length_scale, len(shape))
    images = [math.ceil(min(far / n, 2**30)) + 1 for far, n in zip(reach, shape, strict=True)]
    if math.prod((2 * n + 1) * size for n, size in zip(images, shape, strict=True)) > MOST_SUMMANDS:
        return None
    total: FloatArray = np.zeros(shape)
    for shift in itertools.product(*(range(-n, n + 1) for n in images)):
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
    shape = tuple(len(window) for window in windows)
    if wrapped:
        return np.asarray(scipy.fft.rfftn(field([np.arange(n) for n in shape])).real)
    overlaps = [np.append(np.correlate(window, window, "full")[len(window) - 1 :], 0) / len(window) for window in windows]
    folded: FloatArray = np.zeros(shape)
    for shift in itertools.product((0, 1), repeat=len(shape)):  # lags from 0 on, and negative ones from -N on
        lags = [np.arange(n) - s * n for n, s in zip(shape, shift, strict=True)]
        part = field(lags)
        for weight in np.ix_(*(overlap[np.abs(lag)] for overlap, lag in zip(overlaps, lags, strict=True))):
            part = part * weight
        folded += part
    return np.asarray(scipy.fft.rfftn(folded).real)


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
    """

    power: FloatArray
    reference: FloatArray
    slopes: FloatArray


class Theory:
    """What to expect of the textures of a recipe, class by class.

    Attributes
    ----------
    tapered : bool
        Whether textures are seen through a Hann window, because some field is not periodic.
    windows : list of arrays
        The taper of each axis.
    """

    def __init__(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self.tapered = any(component.boundary == "open" for component in recipe.components)
        self.windows = tapers(recipe.shape, self.tapered)
        self._known: dict[tuple[int, float], tuple[FloatArray, float]] = {}

    def reference(self, label: int) -> FloatArray:
        """`ClassTheory.reference` of the class with this label, alone."""
        return self._reference(
            [self._component(number, scale) for number, scale in enumerate(self.recipe.length_scales(label))]
        )

    def of_class(self, label: int) -> ClassTheory:
        """What to expect of the textures with this label."""
        parts = [self._component(number, scale) for number, scale in enumerate(self.recipe.length_scales(label))]
        noise = self.recipe.noise_std**2
        power = sum((square * part for square, (part, _) in zip(self._squares, parts, strict=True)), noise)
        reference = self._reference(parts)
        slopes = []
        for number, scale in enumerate(self.recipe.length_scales(label)):
            up, down = (
                [*parts[:number], self._component(number, scale * factor), *parts[number + 1 :]]
                for factor in (1 + STEP, 1 / (1 + STEP))
            )
            slopes.append(np.log(self._reference(up) / self._reference(down)) / (2 * math.log1p(STEP)))
        return ClassTheory(np.asarray(power), reference, np.array(slopes))

    @property
    def _squares(self) -> list[float]:
        return [component.weight**2 for component in self.recipe.components]

    def _reference(self, parts: Sequence[tuple[FloatArray, float]]) -> FloatArray:
        """The expected periodogram, of fields scaled to their expected variance if they are standardized."""
        scaled = [part / variance if self.recipe.standardize else part for part, variance in parts]
        total = sum((square * part for square, part in zip(self._squares, scaled, strict=True)), self.recipe.noise_std**2)
        return np.maximum(total, np.finfo(float).tiny)

    def _component(self, number: int, scale: float) -> tuple[FloatArray, float]:
        """Expected periodogram of a component of variance 1, and its expected variance about the mean over the window."""
        if (number, scale) not in self._known:
            component, shape = self.recipe.components[number], self.recipe.shape
            field = covariance(shape, component.kernel_object, scale, component.boundary)
            power = expected_periodogram(field, self.windows, wrapped=not self.tapered)
            mean = expected_periodogram(field, tapers(shape, False), wrapped=component.boundary == "periodic").flat[0]
            variance = float(field([np.zeros(1, np.int64)] * len(shape)).item() - mean / math.prod(shape))
            self._known[number, scale] = np.maximum(power, 0), variance
        return self._known[number, scale]

    def periodogram(self, image: npt.NDArray[Any]) -> FloatArray:
        """|F_m|² of an image, half spectrum."""
        seen = np.asarray(image, dtype=np.float64)
        if self.tapered:
            for window in np.ix_(*self.windows):
                seen = seen * window
        transformed = scipy.fft.rfftn(seen)
        return np.asarray((np.square(transformed.real) + np.square(transformed.imag)) / seen.size)
