r"""Spectra of a torus: the variance of each of its modes, for a kernel summed over images and for a given power spectrum.

The variances are :math:`p_m = \lambda_m / \prod N_i` with :math:`\lambda` the DFT of the covariance. *Periodic* fields have
the covariance summed over images, :math:`\sum_n k(x + nN)`. By Poisson's formula
:math:`\lambda_m = \sum_n S(2\pi(m/N + n))` too; of the two sums the shorter one is taken. Neither is ever negative.

A given *power spectrum* is put on the modes of the torus and scaled to variance 1.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import scipy.fft

from gptex.errors import RecipeError
from gptex.fields.kernels import CovarianceKernel, FloatArray, PowerSpectrum
from gptex.fields.modes import ModeBox, Shape, Spectrum, all_modes, mode_numbers, trim

LARGEST_IMAGE_SHARE = 0.1  # of the variance of a periodic field, from its own images
MOST_TERMS = 100  # aliases or images on each side of an axis
MOST_DISTANCES = 2**23  # in a table of them
MOST_SUMMANDS = 2**30  # for all modes or lags together; a minute or two where the kernel is slow
BLOCK = 2**15  # points taken at a time: small enough to stay in the cache


def periodic(torus: Shape, kernel: CovarianceKernel, length_scale: float, tolerance: float) -> Spectrum:
    """Spectrum of the covariance summed over the images of `torus`."""
    dim = len(torus)
    band = band_limits(kernel, length_scale, dim, tolerance)
    # A sum over the modes left out is below the integral from one mode further in, hence the 2 / n.
    nearest_alias = ((band / math.pi + 2 / np.asarray(torus)).max() - 1) / 2
    aliases = max(0, math.ceil(nearest_alias)) if math.isfinite(nearest_alias) else math.inf
    reach = image_reach(kernel, tolerance * 1e-4) * kernel.extents(length_scale, dim)
    images = max(math.ceil(r / n + 0.5) for r, n in zip(reach, torus, strict=True)) if np.isfinite(reach).all() else math.inf
    terms = min(aliases, images)
    points = math.prod(n // 2 + 1 if _even(kernel, dim) else n for n in torus)
    if terms > MOST_TERMS or (terms > 0 and (2 * terms + 1) ** dim * points > MOST_SUMMANDS):
        raise RecipeError(
            f"neither the correlation nor the spectrum of this {kernel.name} kernel falls fast enough at length scale "
            f"{length_scale:g} for a periodic field: use boundary open, or a larger tolerance"
        )
    if aliases > images:
        summed = variances(torus, kernel, length_scale, images=int(images))
        found = trim(torus, summed, tolerance / (2 * (1 + LARGEST_IMAGE_SHARE)))
        return replace(found, loss=found.loss + tolerance / 100)  # for the images left out
    cutoff = band_modes(torus, band).cutoff
    numbers = mode_numbers(torus, cutoff)
    variance: FloatArray = np.zeros(np.broadcast_shapes(*(n.shape for n in numbers)))
    for shift in itertools.product(range(-int(aliases), int(aliases) + 1), repeat=dim):
        wavenumbers = [2 * math.pi * (m / n + s) for m, n, s in zip(numbers, torus, shift, strict=True)]
        for rows in _blocks(variance):
            q = kernel.scaled_wavenumber([wavenumbers[0][rows], *wavenumbers[1:]], length_scale)
            variance[rows] += kernel.spectral_density(q, dim)
    variance *= kernel.aspect * length_scale**dim / math.prod(torus)
    share = float((variance * ModeBox(torus, cutoff).multiplicity).sum()) - 1
    if share > 1.1 * LARGEST_IMAGE_SHARE:  # images further than those that _check_length_scale adds up
        raise RecipeError(
            f"the images of this periodic {kernel.name} field add {share:.2g} to its variance: use a shorter length scale, "
            "a faster-falling kernel, or boundary open"
        )
    return Spectrum(torus, cutoff, variance, loss=tolerance / 2)  # aliases left out, and modes left out


def band_limits(kernel: CovarianceKernel, length_scale: float, dim: int, tolerance: float) -> FloatArray:
    """Wave numbers in radians per pixel, one an axis, beyond which all modes together have less than half the tolerance."""
    level = tolerance / (4 * dim * (1 + LARGEST_IMAGE_SHARE))  # a sum over modes is the integral and its images
    return kernel.band_limit(level) / kernel.axis_length_scales(length_scale, dim)


def band_modes(torus: Shape, band: FloatArray) -> ModeBox:
    """The modes of `torus` up to the wave numbers `band`."""
    return ModeBox(torus, tuple(min(math.ceil(k * n / (2 * math.pi)), n // 2) for k, n in zip(band, torus, strict=True)))


def image_reach(kernel: CovarianceKernel, level: float) -> float:
    """Scaled distance at which an image adds less than `level` and those behind it nothing; inf if the kernel's tail is heavy.

    Squaring the level doubles the reach of an exponential and squares that of a power law.
    """
    reach = kernel.reach(level)
    return reach if kernel.reach(level**2) < 2.5 * reach else math.inf


def variances(
    torus: Shape, kernel: CovarianceKernel, length_scale: float, images: int = 0, window: Shape | None = None
) -> FloatArray:
    """Variance of each mode of the half spectrum of `torus`, negative where the covariance is none.

    The covariance is summed over images up to `images` away on each axis, or cut off smoothly outside the lags of `window`.
    """
    even = _even(kernel, len(torus))
    lags: list[FloatArray] = [np.arange(n // 2 + 1.0) if even else np.asarray(np.fft.fftfreq(n, 1 / n)) for n in torus]
    covariance: FloatArray = np.zeros([len(lag) for lag in lags])
    farthest = sum((n // 2 + images * n) ** 2 for n in torus)
    known: FloatArray | None = None  # by the square of the distance, a whole number without a stretch, if that saves work
    if kernel.aspect == 1 and farthest < min(MOST_DISTANCES, covariance.size * (2 * images + 1) ** len(torus) / 2):
        known = kernel.correlation(np.sqrt(np.arange(farthest + 1.0)) / length_scale)
    for shift in itertools.product(range(-images, images + 1), repeat=len(torus)):
        moved = np.ix_(*(lag + s * n for lag, s, n in zip(lags, shift, torus, strict=True)))
        for rows in _blocks(covariance):
            here = [moved[0][rows], *moved[1:]]
            if known is None:
                covariance[rows] += kernel.covariance(here, length_scale)
            else:
                covariance[rows] += known[sum(np.square(lag.astype(np.intp)) for lag in here)]
    if window is not None:
        for factor in np.ix_(*(_cutoff(lag, n, inside) for lag, n, inside in zip(lags, torus, window, strict=True))):
            covariance *= factor
    if not even:
        return np.asarray(scipy.fft.rfftn(covariance).real / math.prod(torus))
    folds = [np.minimum(np.arange(n), n - np.arange(n)) for n in torus]
    for axis, fold in enumerate(folds):  # even in each lag: one orthant is enough, and the transform is real
        lines = np.moveaxis(np.atleast_2d(covariance), axis - len(torus), -1)
        for rows in _blocks(lines):
            lines[rows] = scipy.fft.rfft(lines[rows].take(fold, -1)).real
    covariance /= math.prod(torus)
    for axis, fold in enumerate(folds[:-1]):
        covariance = covariance.take(fold, axis)
    return covariance


def _blocks(array: FloatArray) -> Iterator[slice]:
    """Parts of the first axis of about `BLOCK` elements each."""
    rows = max(1, BLOCK * len(array) // array.size)
    return (slice(first, first + rows) for first in range(0, len(array), rows))


def _even(kernel: CovarianceKernel, dim: int) -> bool:
    """Whether the covariance is even in each lag by itself."""
    return kernel.aspect == 1 or np.count_nonzero(np.abs(kernel.direction(dim)) > 1e-15) == 1


def _cutoff(lags: FloatArray, size: int, window: int) -> FloatArray:
    """1 at the lags of the window, falling smoothly to 0 at half the torus, along one axis."""
    from scipy.special import erfc

    fall = (np.abs(lags) - (window - 1)) / (size / 2 - (window - 1))  # 0 at the window's last lag, 1 at half the torus
    return np.where(fall > 0, erfc(8.8 * (fall - 0.5)) / 2, 1.0)


def given(torus: Shape, kernel: PowerSpectrum, length_scale: float, tolerance: float) -> Spectrum:
    """A given power spectrum on the modes of `torus`, scaled to variance 1."""
    modes = all_modes(torus)
    wavenumbers = [2 * math.pi * m / n for m, n in zip(mode_numbers(torus, modes.cutoff), torus, strict=True)]
    power = kernel.spectral_density(kernel.scaled_wavenumber(wavenumbers, length_scale), len(torus))
    power = power / max(float(power.max()), math.ulp(0.0))  # a sum of huge values overflows
    total = float((power * modes.multiplicity).sum())
    if total <= 0:
        raise RecipeError(
            f"the spectrum has no power on the {'x'.join(map(str, torus))} modes at length scale {length_scale:g}"
        )
    return trim(torus, power / total, tolerance / 2)
