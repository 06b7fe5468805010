"""Open spectra: the sum of the modes, written out, must be the kernel itself or the transform of the spectrum given."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.integrate import quad_vec
from scipy.interpolate import PchipInterpolator
from scipy.special import j0

from gptex.errors import RecipeError
from gptex.fields import (
    Exponential,
    Matern,
    PowerSpectrum,
    RationalQuadratic,
    SquaredExponential,
    spectrum,
)

from .cases import CASES, ROUNDING, ids


@pytest.mark.parametrize("tolerance", [1e-8, 1e-3])
@pytest.mark.parametrize(("shape", "length_scale", "kernel"), CASES, ids=ids)
def test_open_covariance_is_the_kernel_to_the_declared_loss(covariance_of, window_lags, shape, length_scale, kernel, tolerance):
    found = spectrum(shape, kernel, length_scale, "open", tolerance)
    error = np.abs(covariance_of(found, shape) - kernel.covariance(np.ix_(*window_lags(shape)), length_scale)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance
    assert (found.variance >= 0).all()


@pytest.mark.parametrize(
    ("shape", "length_scale", "kernel"),
    [
        ((50,), 200.0, SquaredExponential()),
        ((50,), 40.0, Exponential()),
        ((50,), 100.0, RationalQuadratic(alpha=0.3)),
        ((48, 40), 60.0, SquaredExponential()),
        ((48, 40), 30.0, SquaredExponential(aspect=3, angle=20)),
        ((48, 40), 10.0, Matern(nu=2.5)),
        ((30, 30, 30), 100.0, SquaredExponential()),
    ],
    ids=ids,
)
def test_open_covariance_is_the_kernel_up_to_the_window_and_beyond(covariance_of, window_lags, shape, length_scale, kernel):
    found = spectrum(shape, kernel, length_scale, "open", 1e-8)
    error = np.abs(covariance_of(found, shape) - kernel.covariance(np.ix_(*window_lags(shape)), length_scale)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= 1e-8


@pytest.mark.parametrize(("shape", "length_scale"), [((60,), 4.0), ((24, 17), 3.0)])
def test_open_power_spectrum_of_a_kernel_has_the_covariance_of_that_kernel(covariance_of, window_lags, shape, length_scale):
    kernel = PowerSpectrum(power=lambda q: np.exp(-(q**2) / 2))
    found = spectrum(shape, kernel, length_scale, "open", 1e-8)
    expected = SquaredExponential().covariance(np.ix_(*window_lags(shape)), length_scale)
    assert np.abs(covariance_of(found, shape) - expected).max() <= found.loss + ROUNDING
    assert found.loss <= 1e-8


def test_open_power_spectrum_of_endless_correlation_is_refused():
    one_wave = PowerSpectrum(power=lambda q: (np.abs(q - 1) < 0.02) * 1.0)
    with pytest.raises(RecipeError, match=r"changes by .* with the size of the torus"):
        spectrum((20, 20, 20), one_wave, 1.0, "open", 1e-8)


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-4])
@pytest.mark.parametrize(("shape", "alpha"), [((64,), 0.4), ((64,), 0.55), ((64,), 0.75), ((16, 16), 1.05), ((16, 16), 1.5)])
def test_open_loss_holds_for_heavy_tails(covariance_of, window_lags, shape, alpha, tolerance):
    kernel = RationalQuadratic(alpha=alpha)
    found = spectrum(shape, kernel, 2.0, "open", tolerance)
    error = np.abs(covariance_of(found, shape) - kernel.covariance(np.ix_(*window_lags(shape)), 2.0)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance


@pytest.mark.parametrize(("alpha", "length_scale", "size"), [(0.3, 10.0, 64), (0.3, 20.0, 128)])
def test_heavy_tails_are_refused_with_the_tolerance_to_accept(advised, covariance_of, window_lags, alpha, length_scale, size):
    shape, kernel = (size, size), RationalQuadratic(alpha=alpha)
    with pytest.raises(RecipeError, match="no affordable torus") as error:
        spectrum(shape, kernel, length_scale, "open", 1e-8)
    tolerance = advised(error, "tolerance =")
    found = spectrum(shape, kernel, length_scale, "open", tolerance)
    expected = kernel.covariance(np.ix_(*window_lags(shape)), length_scale)
    assert np.abs(covariance_of(found, shape) - expected).max() <= found.loss <= tolerance


def test_an_open_power_spectrum_on_a_grid_without_room_to_double_is_refused():
    with pytest.raises(RecipeError, match="no affordable torus"):
        spectrum((256, 256, 256), PowerSpectrum(power=lambda q: np.exp(-(q**2))), 4.0, "open", 1e-8)


# Power spectra with lines, against their transforms


def transform(power, shape, length_scale, lines):
    """The covariance at each lag of the window of a spectrum that is nothing at Nyquist, by quadrature (R&W eq. 4.7)."""
    dim = len(shape)
    lags = np.sqrt(sum(np.square(np.ix_(*(np.arange(1.0 - n, n) for n in shape))[axis]) for axis in range(dim)))
    r, where = np.unique(lags, return_inverse=True)
    wave = {1: np.cos, 2: j0, 3: lambda x: np.sinc(x / math.pi)}[dim]
    edges = [0.0, *lines, math.pi * length_scale]
    values = sum(
        quad_vec(lambda q: power(q) * q ** (dim - 1) * wave(q * r / length_scale), a, b, epsabs=1e-13, epsrel=1e-11)[0]
        for a, b in itertools.pairwise(edges)
    )
    return (values / values[0])[where].reshape(lags.shape)


def lined(width):
    """A broad spectrum with a line at q = 1, and where to look for it."""
    return (
        lambda q: np.exp(-2 * q**2) + 0.5 / width * np.exp(-((q - 1) ** 2) / (2 * width**2)),
        [1 - 8 * width, 1 - 2 * width, 1 + 2 * width, 1 + 8 * width],
    )


@pytest.mark.parametrize(
    ("shape", "width", "tolerance"),
    [
        ((64,), 1e-2, 1e-8),
        ((64,), 1e-3, 1e-8),
        ((64,), 1e-4, 1e-8),
        ((24, 20), 3e-2, 1e-6),
        ((24, 20), 3e-3, 2e-2),
        ((12, 10, 9), 1e-1, 1e-3),
    ],
)
def test_lines_between_the_modes_are_seen(covariance_of, shape, width, tolerance):
    power, lines = lined(width)
    found = spectrum(shape, PowerSpectrum(power=power), 2.0, "open", tolerance)
    assert np.abs(covariance_of(found, shape) - transform(power, shape, 2.0, lines)).max() <= found.loss <= tolerance


@pytest.mark.parametrize("width", [1e-3, 1e-4])
def test_lines_in_a_table_are_seen(covariance_of, width):
    rows = ((0.0, 1.0), (0.5, 0.9), (1 - width, 0.6), (1.0, 1 / width), (1 + width, 0.5), (2.0, 0.1), (3.0, 0.0))
    found = spectrum((64,), PowerSpectrum(power=rows), 1.0, "open", 1e-3)
    power = PchipInterpolator(*np.transpose(rows))
    edges = [q for q, _ in rows[1:]]
    expected = transform(lambda q: power(q) if q <= 3 else 0.0, (64,), 1.0, edges)
    assert np.abs(covariance_of(found, (64,)) - expected).max() <= found.loss <= 1e-3


@pytest.mark.parametrize(("shape", "width"), [((64, 64), 1e-3), ((64, 64), 1e-4), ((12, 12, 12), 1e-2)])
def test_lines_that_no_torus_resolves_are_refused(shape, width):
    with pytest.raises(RecipeError, match=r"changes by .* with the size of the torus"):
        spectrum(shape, PowerSpectrum(power=lined(width)[0]), 2.0, "open", 1e-8)


def test_no_line_in_a_table_is_so_narrow_that_it_goes_unseen():
    rows = ((0.0, 1.0), (0.8, 0.5), (0.8 + 1e-8, 1e8), (0.8 + 2e-8, 0.5), (2.0, 0.0))
    with pytest.raises(RecipeError, match=r"changes by .* with the size of the torus"):
        spectrum((24, 20), PowerSpectrum(power=rows), 2.0, "open", 1e-3)


@pytest.mark.parametrize("tolerance", [1e-1, 1e-2, 1e-3, 1e-4])
def test_loss_holds_where_the_covariance_converges_slowly(covariance_of, tolerance):
    x = np.arange(-63.0, 64)
    step = PowerSpectrum(power=((0.0, 1.0), (2.0, 1.0)))
    found = spectrum((64,), step, 1.0, "open", tolerance)
    assert np.abs(covariance_of(found, (64,)) - np.sinc(2 * x / math.pi)).max() <= found.loss <= tolerance  # ∫ cos(qx) dq / 2
    ramp = PowerSpectrum(power=((0.0, 1.0), (3.0, 0.0)))
    found = spectrum((64,), ramp, 1.0, "open", tolerance)
    triangle = np.sinc(1.5 * x / math.pi) ** 2
    assert np.abs(covariance_of(found, (64,)) - triangle).max() <= found.loss <= tolerance
