"""Estimators: the power spectrum and the autocovariance of a field one has, on grids of one to three dimensions.

Both take the mean as known and equal to 0, as it is for gptex's fields: subtract another one first. (Subtracting a field's
own mean would bias the autocovariance at every lag.)
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import scipy.fft

from gptex.errors import GptexError
from gptex.fields.kernels import FloatArray
from gptex.fields.spectra import Boundary


class RadialSpectrum(NamedTuple):
    """A power spectrum averaged over shells of wave numbers; shells without modes are left out.

    Attributes
    ----------
    wavenumber : (bins,) float64
        Mean |k| of the modes in each shell, radians per pixel.
    power : (bins,) float64
        Mean of |F|² / N over them, with F the DFT and N the number of pixels: an estimate of the spectral density S(k), in
        units of the field's variance times pixels to the power of the dimension.
    modes : (bins,) int64
        Number of modes averaged; a mode and its conjugate count as two.
    """

    wavenumber: FloatArray
    power: FloatArray
    modes: npt.NDArray[np.int64]


def radial_power_spectrum(field: npt.ArrayLike, bins: int | None = None) -> RadialSpectrum:
    """Radial power spectrum of `field`, of one to three axes, in shells of equal width.

    `bins` shells reach from 0 to the largest |k| of the grid. By default a shell is 2π / (longest side) wide with a multiple of
    that in its middle. The zero mode is the mean and belongs to no shell.

    Raises
    ------
    GptexError
        If `field` has no or more than three axes, fewer than two pixels or values that are not finite, or `bins` is below 1.

    >>> spectrum = radial_power_spectrum(np.random.default_rng(0).standard_normal((64, 64)))
    >>> bool(abs(np.average(spectrum.power, weights=spectrum.modes) - 1) < 0.1)
    True
    """
    values = _checked(field)
    if bins is not None and bins < 1:
        raise GptexError(f"a spectrum has at least one bin, not {bins}")
    power = np.abs(scipy.fft.fftn(values)) ** 2 / values.size
    square = sum(np.square(k) for k in np.ix_(*(2 * math.pi * np.fft.fftfreq(n) for n in values.shape)))
    k = np.sqrt(square).ravel()[1:]
    width = 2 * math.pi / max(values.shape) if bins is None else float(k.max()) / bins * (1 + 1e-12)
    shell = (k / width + (0.5 if bins is None else 0)).astype(np.int64)
    modes = np.bincount(shell)
    full = modes > 0
    return RadialSpectrum(
        np.bincount(shell, k)[full] / modes[full], np.bincount(shell, power.ravel()[1:])[full] / modes[full], modes[full]
    )


def autocovariance(field: npt.ArrayLike, boundary: Boundary = "periodic") -> FloatArray:
    """Autocovariance of `field` at every lag, in FFT order (lag 0 first, negative lags counted from the end).

    Parameters
    ----------
    field : (n_1, …, n_d) array_like
    boundary : {"periodic", "open"}
        On a torus all n_1 … n_d pairs of pixels a lag apart enter, and the shape is that of the field. In a window the mean
        runs over the pairs that exist (the unbiased estimate, Priestley 1981, §5.3) and axis i has the 2 n_i - 1 lags from
        -(n_i - 1) to n_i - 1.

    Raises
    ------
    GptexError
        If `field` has no or more than three axes, fewer than two pixels or values that are not finite, or for another boundary.
    """
    values = _checked(field)
    if boundary == "periodic":
        power = np.abs(scipy.fft.rfftn(values)) ** 2 / values.size
        return np.asarray(scipy.fft.irfftn(power, s=values.shape))
    if boundary != "open":
        raise GptexError(f"boundary must be periodic or open, not {boundary!r}")
    padded = [scipy.fft.next_fast_len(2 * n - 1, real=True) for n in values.shape]
    products = scipy.fft.irfftn(np.abs(scipy.fft.rfftn(values, s=padded)) ** 2, s=padded)
    lags = [np.concatenate([np.arange(n), np.arange(1 - n, 0)]) for n in values.shape]
    pairs = math.prod(np.ix_(*(n - np.abs(lag) for n, lag in zip(values.shape, lags, strict=True))))
    return np.asarray(products[np.ix_(*lags)] / pairs)


def _checked(field: npt.ArrayLike) -> FloatArray:
    values = np.asarray(field, dtype=np.float64)
    if not 1 <= values.ndim <= 3 or values.size < 2:
        raise GptexError(f"a field has one to three axes and at least two pixels, not shape {values.shape}")
    if not np.isfinite(values).all():
        raise GptexError("the field has values that are not finite")
    return values
