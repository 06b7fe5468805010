r"""Spectra: how the variance of a stationary field is shared among the Fourier modes of a torus.

A field on a torus of :math:`N_1 \times \dots \times N_d` pixels is :math:`f(x) = \sum_m a_m e^{2\pi i\, m \cdot x / N}` with
independent complex normal :math:`a_m` (up to :math:`a_{-m} = \bar a_m`). Its covariance is the inverse DFT of the variances
:math:`p_m = E|a_m|^2 = \lambda_m / \prod N_i`, and :math:`\lambda` is the DFT of the covariance. This module finds
:math:`p`, keeps the box of modes that carries all variance but a declared share, and bounds the error made.

*Periodic* fields live on the grid itself and have the covariance summed over images, :math:`\sum_n k(x + nN)`. By
Poisson's formula :math:`\lambda_m = \sum_n S(2\pi(m/N + n))` too; of the two sums the shorter one is taken. Neither is ever
negative.

*Open* fields are cut from a larger torus (circulant embedding) of one of two kinds: the periodic covariance on a torus so
large that no image reaches into the window, or the kernel times a smooth cutoff that is 1 on every lag of the window
(Helgason, Pipiras & Abry 2014; Bachmayr, Graham, Nguyen & Scheichl 2020). The second may have negative eigenvalues: they are
measured, and count towards the loss. Where the first kind has so few modes that matrix products will draw it, it is taken
whatever its size; else the smallest torus of either kind whose loss is within the tolerance.

A given *power spectrum* is put on the modes of the grid and scaled to variance 1; for open fields, on a torus so large that
doubling it changes the covariance in the window by less than the tolerance.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import numpy.typing as npt
import scipy.fft

from gptex.errors import RecipeError
from gptex.fields.kernels import CovarianceKernel, FloatArray, Kernel, PowerSpectrum

Boundary = Literal["periodic", "open"]
Shape = tuple[int, ...]

DEFAULT_TOLERANCE = 1e-8
SMALLEST_TOLERANCE = 1e-10  # the cutoff below ends at erfc(4.4)/2 = 2.5e-10 of what it cuts
SMALLEST_LENGTH_SCALE = 0.25  # pixels; below, neighbours are uncorrelated and the label says nothing
LARGEST_IMAGE_SHARE = 0.1  # of the variance of a periodic field, from its own images
LARGEST_DIAGONAL_CORRELATION = 0.99  # of an open field, across the whole window
LARGEST_TORUS = 2**28  # points; float32 fields of 1 GiB
THIN = 40  # modes along the last axis for each window in the torus, below which matrix products beat the FFT
MOST_THIN_MODES = 2**22  # both signs on every axis
MOST_TERMS = 100  # aliases or images on each side of an axis


@dataclass(frozen=True)
class ModeBox:
    """The modes of a torus up to a cutoff on each axis.

    Attributes
    ----------
    torus : tuple of int
        Size N of each axis.
    cutoff : tuple of int
        Largest mode number kept on each axis, at most N // 2.
    """

    torus: Shape
    cutoff: Shape

    @property
    def self_conjugate(self) -> list[int]:
        """Columns of the last axis that are their own conjugates: 0, and Nyquist where the size is even."""
        nyquist = [self.cutoff[-1]] if 2 * self.cutoff[-1] == self.torus[-1] else []
        return [0, *nyquist]

    @property
    def multiplicity(self) -> FloatArray:
        """How often each column of the half spectrum stands in the whole: 2, but 1 where it is its own conjugate."""
        times = np.full(self.cutoff[-1] + 1, 2.0)
        times[self.self_conjugate] = 1
        return times

    @property
    def index(self) -> tuple[npt.NDArray[np.intp], ...]:
        """Where the modes stand in an array of the torus's whole half spectrum, by `numpy.ix_`."""
        return np.ix_(*(numbers.ravel().astype(int) for numbers in mode_numbers(self.torus, self.cutoff)))

    def thin(self, shape: Shape) -> bool:
        """Whether the modes are so few that products with matrices of cosines beat the FFT on the window `shape`."""
        return self.cutoff[-1] < THIN * self.torus[-1] / shape[-1]


@dataclass(frozen=True)
class Spectrum(ModeBox):
    """The modes that carry a field's variance, and how much each carries.

    Attributes
    ----------
    variance : (M_1, …, M_{d-1}, cutoff_d + 1) float64
        E|a_m|², modes in FFT order on the leading axes and 0 … cutoff on the last one, whose negative half is implied.
    loss : float
        Bound on the error of the covariance at any lag inside the window, rounding apart, with the field's variance as unit.
    """

    variance: FloatArray
    loss: float


def mode_numbers(torus: Shape, cutoff: Shape) -> list[FloatArray]:
    """Mode numbers of each axis in the order of `Spectrum.variance`, shaped to broadcast against each other."""
    axes = []
    for axis, (size, top) in enumerate(zip(torus, cutoff, strict=True)):
        if axis == len(torus) - 1:
            numbers = np.arange(top + 1.0)
        elif 2 * top + 1 < size:
            numbers = np.concatenate([np.arange(top + 1.0), np.arange(-top, 0.0)])
        else:
            numbers = np.fft.fftfreq(size, 1 / size)
        axes.append(numbers)
    return list(np.ix_(*axes))


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
    if not (math.isfinite(length_scale) and length_scale > 0):
        raise RecipeError(f"a length scale must be positive and finite, not {length_scale}")
    if not SMALLEST_TOLERANCE <= tolerance < 1:
        raise RecipeError(f"tolerance must be from {SMALLEST_TOLERANCE:g} to 1, not {tolerance}")
    if boundary not in ("periodic", "open"):
        raise RecipeError(f"boundary must be periodic or open, not {boundary!r}")
    if not isinstance(kernel, CovarianceKernel | PowerSpectrum):
        raise RecipeError(f"a kernel must be a CovarianceKernel or a PowerSpectrum, not {kernel!r}")
    kernel.direction(len(shape))  # refuses what the dimension does not allow
    if isinstance(kernel, PowerSpectrum):
        build = _tabulated if boundary == "periodic" else _tabulated_open
        return build(shape, kernel, length_scale, tolerance)
    _check_length_scale(shape, kernel, length_scale, boundary)
    if boundary == "periodic":
        return _periodic(shape, kernel, length_scale, tolerance)
    return _open(shape, kernel, length_scale, tolerance)


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


def _periodic(torus: Shape, kernel: CovarianceKernel, length_scale: float, tolerance: float) -> Spectrum:
    """Spectrum of the covariance summed over the images of `torus`."""
    dim = len(torus)
    level = tolerance / (4 * dim * (1 + LARGEST_IMAGE_SHARE))  # a sum over modes is the integral and its images
    axis_scales = kernel.axis_length_scales(length_scale, dim)
    band = kernel.band_limit(level) / axis_scales  # radians per pixel
    # A sum over the modes left out is below the integral from one mode further in, hence the 2 / n.
    nearest_alias = ((band / math.pi + 2 / np.asarray(torus)).max() - 1) / 2
    aliases = max(0, math.ceil(nearest_alias)) if math.isfinite(nearest_alias) else math.inf
    reach = _reach_of_images(kernel, tolerance * 1e-4) * kernel.extents(length_scale, dim)
    images = max(math.ceil(r / n + 0.5) for r, n in zip(reach, torus, strict=True)) if np.isfinite(reach).all() else math.inf
    terms = min(aliases, images)
    if terms > MOST_TERMS:
        raise RecipeError(
            f"neither the correlation nor the spectrum of this {kernel.name} kernel falls fast enough at length scale "
            f"{length_scale:g} for a periodic field: use boundary open, or a larger tolerance"
        )
    if aliases > images:
        found = _trim(torus, _variances(torus, kernel, length_scale, images=int(images)), 2 * dim * level)
        return replace(found, loss=found.loss + tolerance / 100)  # for the images left out
    cutoff = tuple(min(math.ceil(k * n / (2 * math.pi)), n // 2) for k, n in zip(band, torus, strict=True))
    numbers = mode_numbers(torus, cutoff)
    variance: FloatArray = np.zeros(np.broadcast_shapes(*(n.shape for n in numbers)))
    for shift in itertools.product(range(-int(aliases), int(aliases) + 1), repeat=dim):
        wavenumbers = [2 * math.pi * (m / n + s) for m, n, s in zip(numbers, torus, shift, strict=True)]
        variance += kernel.spectral_density(kernel.scaled_wavenumber(wavenumbers, length_scale), dim)
    variance *= kernel.aspect * length_scale**dim / math.prod(torus)
    share = float((variance * ModeBox(torus, cutoff).multiplicity).sum()) - 1
    if share > 1.1 * LARGEST_IMAGE_SHARE:  # images further than those that _check_length_scale adds up
        raise RecipeError(
            f"the images of this periodic {kernel.name} field add {share:.2g} to its variance: use a shorter length scale, "
            "a faster-falling kernel, or boundary open"
        )
    return Spectrum(torus, cutoff, variance, loss=tolerance / 2)  # aliases left out, and modes left out


def _open(shape: Shape, kernel: CovarianceKernel, length_scale: float, tolerance: float) -> Spectrum:
    """Spectrum of a torus whose window of `shape` has the kernel itself as covariance: few modes, or else few points."""
    extents = kernel.extents(length_scale, len(shape))
    reach = _reach_of_images(kernel, tolerance / (2 * 3 ** len(shape)))  # 3^d - 1 neighbouring images take half the tolerance
    band = kernel.band_limit(tolerance / (8 * len(shape))) / kernel.axis_length_scales(length_scale, len(shape))

    def clear_of_images(torus: Shape) -> Spectrum:
        found = _periodic(torus, kernel, length_scale, tolerance / 2)
        return replace(found, loss=found.loss + tolerance / 2)

    def cut_off(torus: Shape) -> Spectrum:
        variance = _variances(torus, kernel, length_scale, window=shape)
        negative = -float((np.minimum(variance, 0) * _all_modes(torus).multiplicity).sum())
        found = _trim(torus, variance, tolerance / 2)
        return replace(found, loss=found.loss + negative)

    clear = [n + reach * extent for n, extent in zip(shape, extents, strict=True)]
    modes = band * np.asarray(clear) / (2 * math.pi)
    if (
        math.isfinite(reach)
        and band.max() < math.pi
        and modes[-1] < THIN * clear[-1] / shape[-1]
        and np.prod(2 * modes + 1) < MOST_THIN_MODES
    ):
        return clear_of_images(tuple(math.ceil(size) for size in clear))
    tori = [(_fast_torus(clear), clear_of_images)] if max(clear) <= LARGEST_TORUS else []
    for margin in (0.5, 1, 2, 4, 8, 16, 32):
        beyond = [2 * (n + margin * extent) for n, extent in zip(shape, extents, strict=True)]
        tori.append((_fast_torus(beyond), cut_off))
    affordable = _affordable_points(shape)
    best = math.inf
    for torus, embed in sorted(tori, key=lambda pair: math.prod(pair[0])):
        if math.prod(torus) <= affordable:
            found = embed(torus)
            if found.loss <= tolerance:
                return found
            best = min(best, found.loss)
    raise RecipeError(
        f"no affordable torus (up to {affordable} points) holds an open {'x'.join(map(str, shape))} {kernel.name} field of "
        f"length scale {length_scale:g} to {tolerance:g}: {_advice(best)}use a shorter length scale, a smaller grid, or a "
        "faster-falling kernel"
    )


def _advice(loss: float) -> str:
    """The tolerance that would accept a loss, for an error message; nothing where that is no field worth the name."""
    return f"accept a loss with tolerance = {10 ** math.ceil(math.log10(2 * loss)):g}, " if loss < 0.05 else ""


def _reach_of_images(kernel: CovarianceKernel, level: float) -> float:
    """Scaled distance at which an image adds less than `level` and those behind it nothing; inf if the kernel's tail is heavy.

    Squaring the level doubles the reach of an exponential and squares that of a power law.
    """
    reach = kernel.reach(level)
    return reach if kernel.reach(level**2) < 2.5 * reach else math.inf


def _affordable_points(shape: Shape) -> int:
    """Points of the largest torus worth a window of `shape`."""
    return min(max(64 * math.prod(shape), 2**24), LARGEST_TORUS)


def _fast_torus(sizes: Sequence[float]) -> Shape:
    return tuple(int(scipy.fft.next_fast_len(math.ceil(size), real=True)) for size in sizes)


def _variances(
    torus: Shape, kernel: CovarianceKernel, length_scale: float, images: int = 0, window: Shape | None = None
) -> FloatArray:
    """Variance of each mode of the half spectrum of `torus`, negative where the covariance is none.

    The covariance is summed over images up to `images` away on each axis, or cut off smoothly outside the lags of `window`.
    """
    even = kernel.aspect == 1 or np.count_nonzero(np.abs(kernel.direction(len(torus))) > 1e-15) == 1
    lags: list[FloatArray] = [np.arange(n // 2 + 1.0) if even else np.asarray(np.fft.fftfreq(n, 1 / n)) for n in torus]
    covariance: FloatArray = np.zeros([len(lag) for lag in lags])
    for shift in itertools.product(range(-images, images + 1), repeat=len(torus)):
        moved = np.ix_(*(lag + s * n for lag, s, n in zip(lags, shift, torus, strict=True)))
        covariance += kernel.covariance(moved, length_scale)
    if window is not None:
        for factor in np.ix_(*(_cutoff(lag, n, inside) for lag, n, inside in zip(lags, torus, window, strict=True))):
            covariance *= factor
    if not even:
        return np.asarray(scipy.fft.rfftn(covariance).real / math.prod(torus))
    folds = [np.minimum(np.arange(n), n - np.arange(n)) for n in torus]
    for axis, fold in enumerate(folds):  # even in each lag: one orthant is enough, and the transform is real
        covariance = scipy.fft.rfft(covariance.take(fold, axis), axis=axis).real
    for axis, fold in enumerate(folds[:-1]):
        covariance = covariance.take(fold, axis)
    return covariance / math.prod(torus)


def _cutoff(lags: FloatArray, size: int, window: int) -> FloatArray:
    """1 at the lags of the window, falling smoothly to 0 at half the torus, along one axis."""
    from scipy.special import erfc

    fall = (np.abs(lags) - (window - 1)) / (size / 2 - (window - 1))  # 0 at the window's last lag, 1 at half the torus
    return np.where(fall > 0, erfc(8.8 * (fall - 0.5)) / 2, 1.0)


def _all_modes(torus: Shape) -> ModeBox:
    return ModeBox(torus, tuple(n // 2 for n in torus))


def _trim(torus: Shape, variance: FloatArray, budget: float) -> Spectrum:
    """Drop the outer modes that together carry less than `budget` of the variance, and negative variances."""
    weighted = np.maximum(variance, 0) * _all_modes(torus).multiplicity
    total = float(weighted.sum())
    cutoff = []
    for axis, size in enumerate(torus):
        marginal = weighted.sum(axis=tuple(a for a in range(len(torus)) if a != axis))
        if axis < len(torus) - 1:  # fold negative modes onto positive ones
            folded = marginal[: size // 2 + 1].copy()
            folded[1 : (size + 1) // 2] += marginal[: size // 2 : -1]
            marginal = folded
        beyond = total - np.cumsum(marginal)
        cutoff.append(int(np.argmax(beyond <= budget * total / len(torus))))
    kept = ModeBox(torus, tuple(cutoff))
    box = weighted[kept.index]
    loss = total - float(box.sum())
    box /= kept.multiplicity
    return Spectrum(torus, kept.cutoff, box, max(loss, 0.0))


def _tabulated(torus: Shape, kernel: PowerSpectrum, length_scale: float, tolerance: float) -> Spectrum:
    """A given power spectrum on the modes of `torus`, scaled to variance 1."""
    modes = _all_modes(torus)
    wavenumbers = [2 * math.pi * m / n for m, n in zip(mode_numbers(torus, modes.cutoff), torus, strict=True)]
    power = kernel.spectral_density(kernel.scaled_wavenumber(wavenumbers, length_scale), len(torus))
    power = power / max(float(power.max()), math.ulp(0.0))  # a sum of huge values overflows
    total = float((power * modes.multiplicity).sum())
    if total <= 0:
        raise RecipeError(
            f"the spectrum has no power on the {'x'.join(map(str, torus))} modes at length scale {length_scale:g}"
        )
    return _trim(torus, power / total, tolerance / 2)


def _tabulated_open(shape: Shape, kernel: PowerSpectrum, length_scale: float, tolerance: float) -> Spectrum:
    """A given power spectrum on a torus so large that doubling it does not change the covariance in the window."""
    affordable = _affordable_points(shape)
    torus = _fast_torus([2 * n for n in shape])
    if math.prod(torus) * 2 ** len(shape) > affordable:
        raise RecipeError(
            f"no affordable torus (up to {affordable} points) holds an open {'x'.join(map(str, shape))} field of a given "
            "spectrum: use a smaller grid or boundary periodic"
        )
    best = math.inf
    found, covariance = _with_window_covariance(torus, shape, kernel, length_scale, tolerance)
    while math.prod(torus) * 2 ** len(shape) <= affordable:
        larger = tuple(2 * n for n in torus)
        next_found, next_covariance = _with_window_covariance(larger, shape, kernel, length_scale, tolerance)
        change = float(np.abs(next_covariance - covariance).max())
        if change + found.loss <= tolerance:
            return replace(found, loss=change + found.loss)
        best = min(best, change)
        torus, found, covariance = larger, next_found, next_covariance
    raise RecipeError(
        f"the covariance of this spectrum at length scale {length_scale:g} still changes by {best:.1e} with the size of the "
        f"torus: {_advice(best)}use boundary periodic, a smoother spectrum, or a shorter length scale"
    )


def _with_window_covariance(
    torus: Shape, shape: Shape, kernel: PowerSpectrum, length_scale: float, tolerance: float
) -> tuple[Spectrum, FloatArray]:
    """The spectrum on `torus` and the covariance it gives at the lags of a window of `shape`, both signs."""
    found = _tabulated(torus, kernel, length_scale, tolerance)
    whole: FloatArray = np.zeros((*torus[:-1], torus[-1] // 2 + 1))
    whole[found.index] = found.variance
    covariance = scipy.fft.irfftn(whole, s=torus, norm="forward")
    return found, covariance[np.ix_(*(np.arange(1 - n, n) for n in shape))]
