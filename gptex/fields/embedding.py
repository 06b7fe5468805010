"""Circulant embedding: open fields, cut from a torus that is larger than their window.

A field whose covariance is known is cut from a torus of one of two kinds: the periodic covariance on a torus so large that
no image reaches into the window, or the kernel times a smooth cutoff that is 1 on every lag of the window (Helgason, Pipiras
& Abry 2014; Bachmayr, Graham, Nguyen & Scheichl 2020). The second may have negative eigenvalues: they are measured, and
count towards the loss. Where the first kind has so few modes that matrix products will draw it, it is taken whatever its
size; else the smallest torus of either kind whose loss is within the tolerance.

A field of a given power spectrum is cut from a torus so large that doubling it hardly changes the covariance in the window,
and so large that the spectrum has no structure between its modes. Its loss is an estimate: twice the change, which is
the error if that falls like 1 / N or faster, plus twice the structure unseen, plus the modes left out.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import scipy.fft

from gptex.errors import RecipeError
from gptex.fields.kernels import CovarianceKernel, FloatArray, PowerSpectrum
from gptex.fields.modes import Shape, Spectrum, all_modes, trim
from gptex.fields.torus import band_limits, band_modes, given, image_reach, periodic, variances

LARGEST_TORUS = 2**28  # points; float32 fields of 1 GiB
POINTS_LOOKED_AT = 2**18  # of a given spectrum, in search of structure between the modes


def open_covariance(shape: Shape, kernel: CovarianceKernel, length_scale: float, tolerance: float) -> Spectrum:
    """Spectrum of a torus whose window of `shape` has the kernel itself as covariance: few modes, or else few points."""
    dim = len(shape)
    extents = kernel.extents(length_scale, dim)
    reach = image_reach(kernel, tolerance / (2 * 3**dim))  # 3^d - 1 neighbouring images take half the tolerance

    def clear_of_images(torus: Shape) -> Spectrum:
        found = periodic(torus, kernel, length_scale, tolerance / 2)
        return replace(found, loss=found.loss + tolerance / 2)

    def cut_off(torus: Shape) -> Spectrum:
        variance = variances(torus, kernel, length_scale, window=shape)
        negative = np.minimum(variance, 0)
        negative *= all_modes(torus).multiplicity
        found = trim(torus, variance, tolerance / 2)
        return replace(found, loss=found.loss - float(negative.sum()))

    clear = [n + reach * extent for n, extent in zip(shape, extents, strict=True)]
    band = band_limits(kernel, length_scale, dim, tolerance / 2)
    if np.isfinite(clear).all() and band.max() < math.pi:
        torus = tuple(math.ceil(size) for size in clear)
        if band_modes(torus, band).thin(shape):
            return clear_of_images(torus)
    beyond = [[2 * (n + m * e) for n, e in zip(shape, extents, strict=True)] for m in (0.5, 1, 2, 4, 8, 16, 32)]
    affordable = _affordable_points(shape)
    tried = [(clear, clear_of_images), *((sizes, cut_off) for sizes in beyond)]
    tori = [(_fast_torus(sizes), embed) for sizes, embed in tried if math.prod(sizes) <= affordable]
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


def open_power(shape: Shape, kernel: PowerSpectrum, length_scale: float, tolerance: float) -> Spectrum:
    """A given power spectrum on a torus so large that neither a finer one nor a closer look at the spectrum changes much."""
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
        error = 2 * change + 2 * _unseen(torus, kernel, length_scale) + found.loss
        if error <= tolerance:
            return replace(found, loss=error)
        best = min(best, error)
        torus, found, covariance = larger, next_found, next_covariance
    raise RecipeError(
        f"the covariance of this spectrum at length scale {length_scale:g} still changes by up to {best:.1e} with the size of "
        f"the torus (at most {affordable} points): {_advice(best)}use boundary periodic, a smoother spectrum, or a shorter "
        "length scale"
    )


def _with_window_covariance(
    torus: Shape, shape: Shape, kernel: PowerSpectrum, length_scale: float, tolerance: float
) -> tuple[Spectrum, FloatArray]:
    """The spectrum on `torus` and the covariance it gives at the lags of a window of `shape`, both signs."""
    found = given(torus, kernel, length_scale, tolerance)
    whole: FloatArray = np.zeros((*torus[:-1], torus[-1] // 2 + 1))
    whole[found.index] = found.variance
    covariance = scipy.fft.irfftn(whole, s=torus, norm="forward")
    return found, covariance[np.ix_(*(np.arange(1 - n, n) for n in shape))]


def _unseen(torus: Shape, kernel: PowerSpectrum, length_scale: float) -> float:
    """Share of the variance, about, in structure of the spectrum that is finer than the modes of `torus`.

    The L1 distance over all wave vectors between the spectrum and its interpolation (Lagrange's, of degree 7) from points an
    eighth of the modes' spacing apart. Twice the share bounds the change of a covariance of variance 1. Doubling the torus
    shows what is wider than that.
    """
    dim = len(torus)
    nyquist = math.pi * length_scale
    inside, outside = nyquist * min(1, kernel.aspect), nyquist * math.sqrt(dim) * max(1, kernel.aspect)
    step = 2 * math.pi * length_scale * max(1, kernel.aspect) / min(torus) / 8
    q = (np.arange(POINTS_LOOKED_AT) + 0.618) * (outside / POINTS_LOOKED_AT)  # not in step with the modes
    if not callable(kernel.power):
        rows = np.array([row for row, _ in kernel.power])
        q = np.union1d(q, np.concatenate([rows, (rows[1:] + rows[:-1]) / 2]).clip(0, outside))
    left = np.floor(q / step)
    part = q / step - left
    interpolated: FloatArray = np.zeros_like(q)
    nodes = range(-3, 5)
    for node in nodes:
        weight = math.prod(((part - other) / (node - other) for other in nodes if other != node), start=np.ones_like(q))
        interpolated += weight * kernel.spectral_density(np.abs(left + node) * step, dim)
    power = kernel.spectral_density(q, dim)
    shell = q ** (dim - 1)
    within = q <= inside
    total = float(np.trapezoid((power * shell)[within], q[within]))
    return float(np.trapezoid(np.abs(power - interpolated) * shell, q)) / total if total > 0 else math.inf


def _advice(loss: float) -> str:
    """The tolerance that would accept a loss, for an error message; nothing where that is no field worth the name."""
    return f"accept a loss with tolerance = {10 ** math.ceil(math.log10(2 * loss)):g}, " if loss < 0.05 else ""


def _affordable_points(shape: Shape) -> int:
    """Points of the largest torus worth a window of `shape`."""
    return min(max(64 * math.prod(shape), 2**24), LARGEST_TORUS)


def _fast_torus(sizes: Sequence[float]) -> Shape:
    return tuple(int(scipy.fft.next_fast_len(math.ceil(size), real=True)) for size in sizes)
