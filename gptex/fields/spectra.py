"""Spectra of fields: what may be asked for, and which way to go for it.

`gptex.fields.torus` finds the variances of the modes of a periodic field, `gptex.fields.embedding` those of an open one. Both
keep the modes that carry all variance but a declared share (`gptex.fields.modes`), and bound the error made.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import numpy as np

from gptex.errors import RecipeError
from gptex.fields.embedding import open_covariance, open_power
from gptex.fields.kernels import CovarianceKernel, Kernel, PowerSpectrum
from gptex.fields.modes import Shape, Spectrum
from gptex.fields.torus import LARGEST_IMAGE_SHARE, given, periodic

Boundary = Literal["periodic", "open"]

DEFAULT_TOLERANCE = 1e-8
SMALLEST_TOLERANCE = 1e-10  # the cutoff of `gptex.fields.torus` ends at erfc(4.4)/2 = 2.5e-10 of what it cuts
SMALLEST_LENGTH_SCALE = 0.25  # pixels; below, neighbours are uncorrelated and the label says nothing
LARGEST_LENGTH_SCALE = 1e12  # pixels; no grid is so wide
LARGEST_DIAGONAL_CORRELATION = 0.99  # of an open field, across the whole window


def spectrum(shape: Shape, kernel: Kernel, length_scale: float, boundary: Boundary, tolerance: float) -> Spectrum:
    """The spectrum of a field with `kernel` and `length_scale` (pixels) in a window of `shape`.

    Parameters
    ----------
    shape : tuple of int
        Pixels of each axis of the window, one to three of them.
    boundary : {"periodic", "open"}
        A torus of this shape, or a window cut from a larger one.
    tolerance : float
        Largest loss, from 1e-10 to 1, with the field's variance as unit.

    Raises
    ------
    RecipeError
        If the length scale cannot be honoured on this grid to the tolerance; the message says what would work.
    """
    if not 0 < length_scale <= LARGEST_LENGTH_SCALE:
        raise RecipeError(f"a length scale must be positive and at most {LARGEST_LENGTH_SCALE:g} pixels, not {length_scale}")
    if not SMALLEST_TOLERANCE <= tolerance < 1:
        raise RecipeError(f"tolerance must be from {SMALLEST_TOLERANCE:g} to 1, not {tolerance}")
    if boundary not in ("periodic", "open"):
        raise RecipeError(f"boundary must be periodic or open, not {boundary!r}")
    if not isinstance(kernel, CovarianceKernel | PowerSpectrum):
        raise RecipeError(f"a kernel must be a CovarianceKernel or a PowerSpectrum, not {kernel!r}")
    kernel.direction(len(shape))  # refuses what the dimension does not allow
    if isinstance(kernel, PowerSpectrum):
        build = given if boundary == "periodic" else open_power
        return build(shape, kernel, length_scale, tolerance)
    _check_length_scale(shape, kernel, length_scale, boundary)
    find = periodic if boundary == "periodic" else open_covariance
    return find(shape, kernel, length_scale, tolerance)


def _check_length_scale(shape: Shape, kernel: CovarianceKernel, length_scale: float, boundary: Boundary) -> None:
    smallest = length_scale * min(1, kernel.aspect)
    if smallest < SMALLEST_LENGTH_SCALE:
        raise RecipeError(
            f"length scale {smallest:g} is far below a pixel: use at least {SMALLEST_LENGTH_SCALE:g}, "
            "or noise_std for white noise"
        )
    grid = "x".join(map(str, shape))
    if boundary == "open":
        diagonal = [size - 1 for size in shape]

        def too_large(scale: float) -> bool:
            return bool(kernel.covariance(diagonal, scale) > LARGEST_DIAGONAL_CORRELATION)

        if math.prod(shape) > 1 and too_large(length_scale):
            raise RecipeError(
                f"length scale {length_scale:g} is far larger than the {grid} grid, where the field would be constant: "
                f"use at most {_largest(too_large, length_scale):.3g}"
            )
        return
    if not math.isfinite(kernel.spectral_density(0.0, len(shape))):
        raise RecipeError(
            f"a periodic {kernel.name} field does not exist in {len(shape)} dimensions with alpha ≤ {len(shape) / 2:g}, the "
            "sum over its images diverges: use a larger alpha or boundary open"
        )

    def images_too_large(scale: float) -> bool:
        offsets = np.ix_(*(size * np.arange(-8.0, 9.0) for size in shape))
        return float(kernel.covariance(offsets, scale).sum()) - 1 > LARGEST_IMAGE_SHARE

    if images_too_large(length_scale):
        raise RecipeError(
            f"length scale {length_scale:g} is too large for a periodic {grid} grid, the field would feel its own images: "
            f"use at most {_largest(images_too_large, length_scale):.3g}, or boundary open"
        )


def _largest(too_large: Callable[[float], bool], length_scale: float) -> float:
    """The largest length scale that is not too large, rounded down to three digits."""
    low = length_scale
    while too_large(low):
        low /= 2
    high = 2 * low
    while high / low > 1.0005:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if too_large(middle) else (middle, high)
    digit = 10.0 ** (math.floor(math.log10(low)) - 2)
    return math.floor(low / digit) * digit
