"""Spectra against covariances: the sum of the modes, written out, must be the kernel (open) or its sum over images (periodic).

Nothing here uses an FFT or the spectral density: every lag of the window, of both signs, is summed over the modes directly.
"""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from gptex.errors import RecipeError
from gptex.fields import (
    Exponential,
    Matern,
    PowerSpectrum,
    RationalQuadratic,
    SquaredExponential,
    spectrum,
)
from gptex.fields.spectra import mode_numbers

ROUNDING = 1e-12


def window_lags(shape):
    return [np.arange(1.0 - n, n) for n in shape]


def covariance_of(found, shape):
    """Σ p_m cos(2π m·lag / N) over the whole torus at every lag of the window; the half not stored has the same p."""
    waves = [
        np.exp(2j * math.pi * np.outer(lag, numbers.ravel()) / size)
        for lag, numbers, size in zip(window_lags(shape), mode_numbers(found.torus, found.cutoff), found.torus, strict=True)
    ]
    column = np.arange(found.cutoff[-1] + 1)
    waves[-1] = waves[-1] * np.where((column == 0) | (2 * column == found.torus[-1]), 1, 2)
    covariance = found.variance
    for axis, wave in enumerate(waves):
        covariance = np.moveaxis(np.tensordot(wave, covariance, axes=(1, axis)), 0, axis)
    return covariance.real


def sum_over_images(kernel, shape, length_scale):
    """Σ_n k(lag + n N) at every lag of the window, over so many images that the rest is below rounding."""
    away = [
        math.ceil(kernel.reach(1e-15) * extent / n) + 1
        for extent, n in zip(kernel.extents(length_scale, len(shape)), shape, strict=True)
    ]
    total = 0.0
    for shift in itertools.product(*(range(-a, a + 1) for a in away)):
        moved = [lag + s * n for lag, s, n in zip(window_lags(shape), shift, shape, strict=True)]
        total = total + kernel.covariance(np.ix_(*moved), length_scale)
    return total


# A shape with length scales that suit it, and kernels with what else they need.
GRIDS = [((37,), 3.0), ((64,), 0.5), ((12, 17), 1.2), ((20, 16), 2.0), ((1, 9), 0.3), ((7, 9, 8), 0.8)]
KERNELS = [
    SquaredExponential(),
    Exponential(),
    Matern(nu=0.8),
    Matern(nu=1.5),
    Matern(nu=2.5),
    RationalQuadratic(alpha=10.0),
]
STRETCHED = [SquaredExponential(aspect=2, angle=30), Matern(aspect=0.6, angle=90, nu=1.5), Exponential(aspect=1.5, angle=-75)]
CASES = [(shape, scale, kernel) for shape, scale in GRIDS for kernel in KERNELS]
CASES += [((12, 17), 1.0, kernel) for kernel in STRETCHED] + [((7, 9, 8), 0.6, STRETCHED[0])]


def ids(value):
    return str(value).replace("aspect=1.0, angle=0.0", "")


@pytest.mark.parametrize("tolerance", [1e-8, 1e-3])
@pytest.mark.parametrize(("shape", "length_scale", "kernel"), CASES, ids=ids)
def test_periodic_covariance_is_the_sum_over_images_to_the_declared_loss(shape, length_scale, kernel, tolerance):
    found = spectrum(shape, kernel, length_scale, "periodic", tolerance)
    error = np.abs(covariance_of(found, shape) - sum_over_images(kernel, shape, length_scale)).max()
    assert found.torus == shape
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance
    assert (found.variance >= 0).all()


@pytest.mark.parametrize("tolerance", [1e-8, 1e-3])
@pytest.mark.parametrize(("shape", "length_scale", "kernel"), CASES, ids=ids)
def test_open_covariance_is_the_kernel_to_the_declared_loss(shape, length_scale, kernel, tolerance):
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
def test_open_covariance_is_the_kernel_for_length_scales_up_to_the_window_and_beyond(shape, length_scale, kernel):
    found = spectrum(shape, kernel, length_scale, "open", 1e-8)
    error = np.abs(covariance_of(found, shape) - kernel.covariance(np.ix_(*window_lags(shape)), length_scale)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= 1e-8


def test_rational_quadratic_of_slow_tails_is_summed_over_all_its_images():
    shape, kernel = (40,), RationalQuadratic(alpha=0.8)
    images = np.arange(-200_000.0, 200_001.0)
    lags = np.array([0.0, 7.0, 20.0])
    beyond = 2 * (2 * 0.8 * 0.25) ** 0.8 * (40.0 * 200_000.5) ** -0.6 / (0.6 * 40)  # the integral of r^-1.6 over the rest
    expected = kernel.covariance([lags[:, None] + 40 * images], 0.5).sum(axis=1) + beyond
    found = covariance_of(spectrum(shape, kernel, 0.5, "periodic", 1e-8), shape)
    np.testing.assert_allclose(found[39 + lags.astype(int)], expected, atol=1.1e-8)


def test_only_modes_that_carry_variance_are_kept():
    found = spectrum((1024, 1024), SquaredExponential(), 10.0, "periodic", 1e-8)
    edge = 6 / 10 * 1024 / (2 * math.pi)  # exp(-q²/2) is 1e-8 at q = 6
    assert all(0.9 * edge < top < 1.2 * edge for top in found.cutoff)
    assert found.variance.shape == (2 * found.cutoff[0] + 1, found.cutoff[1] + 1)


@pytest.mark.parametrize("shape", [(31,), (32,), (10, 13), (11, 12), (4, 5, 6)])
def test_power_spectrum_shares_a_variance_of_one_among_the_modes_as_it_says(shape):
    def power(q):
        return 1 / (1 + q**2)

    found = spectrum(shape, PowerSpectrum(power=power), 2.0, "periodic", 1e-8)
    assert covariance_of(found, shape)[tuple(n - 1 for n in shape)] == pytest.approx(1, abs=1e-12)
    wavenumber = sum((2 * math.pi * m / n) ** 2 for m, n in zip(mode_numbers(shape, found.cutoff), shape, strict=True)) ** 0.5
    np.testing.assert_allclose(found.variance / found.variance.flat[0], power(2 * wavenumber), rtol=1e-12)


def test_power_spectrum_without_power_at_zero_makes_fields_of_mean_zero():
    found = spectrum((16, 16), PowerSpectrum(power=lambda q: q**2 * np.exp(-q)), 2.0, "periodic", 1e-8)
    assert found.variance[0, 0] == 0


@pytest.mark.parametrize(("shape", "length_scale"), [((60,), 4.0), ((24, 17), 3.0)])
def test_open_power_spectrum_of_a_kernel_has_the_covariance_of_that_kernel(shape, length_scale):
    kernel = PowerSpectrum(power=lambda q: np.exp(-(q**2) / 2))
    found = spectrum(shape, kernel, length_scale, "open", 1e-8)
    expected = SquaredExponential().covariance(np.ix_(*window_lags(shape)), length_scale)
    assert np.abs(covariance_of(found, shape) - expected).max() <= found.loss + ROUNDING
    assert found.loss <= 1e-8


def test_power_spectrum_that_misses_every_mode_is_refused():
    with pytest.raises(RecipeError, match="no power on the 8x8 modes"):
        spectrum((8, 8), PowerSpectrum(power=((100.0, 1.0), (101.0, 1.0))), 1.0, "periodic", 1e-8)


def test_open_power_spectrum_of_endless_correlation_is_refused():
    one_wave = PowerSpectrum(power=lambda q: (np.abs(q - 1) < 0.02) * 1.0)
    with pytest.raises(RecipeError, match=r"changes by .* with the size of the torus"):
        spectrum((20, 20, 20), one_wave, 1.0, "open", 1e-8)


# Errors


def advised(error, pattern):
    """The number that the message advises."""
    return float(re.search(pattern + r" ([\d.e+-]*\d)", str(error.value)).group(1))


@pytest.mark.parametrize("length_scale", [0.0, -3.0, math.nan, math.inf])
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_length_scale_must_be_positive_and_finite(boundary, length_scale):
    with pytest.raises(RecipeError, match="length scale must be positive and finite"):
        spectrum((8, 8), SquaredExponential(), length_scale, boundary, 1e-8)


@pytest.mark.parametrize("tolerance", [0.0, -1e-8, 1e-11, 1.0, 2.0, math.nan])
def test_tolerance_must_be_in_range(tolerance):
    with pytest.raises(RecipeError, match="tolerance must be from 1e-10 to 1"):
        spectrum((8, 8), SquaredExponential(), 2.0, "periodic", tolerance)


def test_boundary_must_be_periodic_or_open():
    with pytest.raises(RecipeError, match="boundary must be periodic or open, not 'reflect'"):
        spectrum((8, 8), SquaredExponential(), 2.0, "reflect", 1e-8)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize(
    ("kernel", "length_scale"), [(SquaredExponential(), 0.1), (SquaredExponential(aspect=0.5), 0.4)], ids=["tiny", "squeezed"]
)
def test_length_scale_far_below_a_pixel_is_refused_with_the_smallest_that_works(kernel, length_scale, boundary):
    with pytest.raises(RecipeError, match="far below a pixel") as error:
        spectrum((32, 32), kernel, length_scale, boundary, 1e-8)
    spectrum((32, 32), kernel, advised(error, "at least") / min(1, kernel.aspect), boundary, 1e-8)


@pytest.mark.parametrize(
    ("shape", "kernel"),
    [
        ((64,), SquaredExponential()),
        ((64, 64), Exponential()),
        ((64, 24), Matern(nu=2.5)),
        ((64, 64), SquaredExponential(aspect=3, angle=40)),
        ((16, 20, 24), RationalQuadratic(alpha=3.0)),
    ],
    ids=ids,
)
def test_length_scale_too_large_for_a_torus_is_refused_with_the_largest_that_works(shape, kernel):
    with pytest.raises(RecipeError, match="feel its own images") as error:
        spectrum(shape, kernel, 300.0, "periodic", 1e-8)
    largest = advised(error, "at most")
    spectrum(shape, kernel, largest, "periodic", 1e-8)
    with pytest.raises(RecipeError, match="feel its own images"):
        spectrum(shape, kernel, 1.02 * largest, "periodic", 1e-8)


@pytest.mark.parametrize("shape", [(64,), (64, 40), (12, 16, 10)])
def test_length_scale_far_larger_than_the_window_is_refused_with_the_largest_that_works(shape):
    with pytest.raises(RecipeError, match="field would be constant") as error:
        spectrum(shape, SquaredExponential(), 1e5, "open", 1e-8)
    largest = advised(error, "at most")
    across = math.dist([0] * len(shape), [n - 1 for n in shape])
    assert math.exp(-((across / largest) ** 2) / 2) == pytest.approx(0.99, abs=1e-3)
    spectrum(shape, SquaredExponential(), largest, "open", 1e-8)


@pytest.mark.parametrize(("shape", "alpha"), [((64,), 0.5), ((64, 64), 1.0), ((16, 16, 16), 1.5)])
def test_periodic_rational_quadratic_must_have_a_finite_sum_over_images(shape, alpha):
    with pytest.raises(RecipeError, match=f"alpha ≤ {len(shape) / 2:g}"):
        spectrum(shape, RationalQuadratic(alpha=alpha), 2.0, "periodic", 1e-8)


@pytest.mark.parametrize(
    ("shape", "length_scale", "tolerance"),
    [((6,), 1.914, 1e-8), ((6,), 1.936, 1e-8), ((4, 4, 4), 1.361, 4.5e-4), ((10, 2), 0.643, 1.37e-8)],
)
def test_periodic_loss_holds_on_the_smallest_grids(shape, length_scale, tolerance):
    found = spectrum(shape, SquaredExponential(), length_scale, "periodic", tolerance)
    error = np.abs(covariance_of(found, shape) - sum_over_images(SquaredExponential(), shape, length_scale)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance


@pytest.mark.parametrize("tolerance", [0.1, 1e-2, 1e-4])
@pytest.mark.parametrize(("shape", "alpha"), [((64,), 0.4), ((64,), 0.55), ((64,), 0.75), ((16, 16), 1.05), ((16, 16), 1.5)])
def test_open_loss_holds_for_heavy_tails(shape, alpha, tolerance):
    kernel = RationalQuadratic(alpha=alpha)
    found = spectrum(shape, kernel, 2.0, "open", tolerance)
    error = np.abs(covariance_of(found, shape) - kernel.covariance(np.ix_(*window_lags(shape)), 2.0)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance


@pytest.mark.parametrize(("alpha", "length_scale", "size"), [(0.3, 10.0, 64), (0.3, 20.0, 128)])
def test_heavy_tails_are_refused_with_the_tolerance_to_accept(alpha, length_scale, size):
    shape, kernel = (size, size), RationalQuadratic(alpha=alpha)
    with pytest.raises(RecipeError, match="no affordable torus") as error:
        spectrum(shape, kernel, length_scale, "open", 1e-8)
    tolerance = advised(error, "tolerance =")
    found = spectrum(shape, kernel, length_scale, "open", tolerance)
    expected = kernel.covariance(np.ix_(*window_lags(shape)), length_scale)
    assert np.abs(covariance_of(found, shape) - expected).max() <= found.loss <= tolerance


def test_what_is_no_kernel_is_refused():
    with pytest.raises(RecipeError, match="a kernel must be"):
        spectrum((8, 8), None, 2.0, "periodic", 1e-8)


def test_an_open_power_spectrum_on_a_grid_without_room_to_double_is_refused():
    with pytest.raises(RecipeError, match="no affordable torus"):
        spectrum((256, 256, 256), PowerSpectrum(power=lambda q: np.exp(-(q**2))), 4.0, "open", 1e-8)


@pytest.mark.parametrize(("shape", "alpha"), [((64,), 0.51), ((64, 64), 1.00001), ((64, 64), 1.05), ((16, 16, 16), 1.51)])
def test_a_periodic_field_whose_far_images_add_up_is_refused(shape, alpha):
    with pytest.raises(RecipeError, match="images"):
        spectrum(shape, RationalQuadratic(alpha=alpha), shape[0] / 19, "periodic", 1e-8)
