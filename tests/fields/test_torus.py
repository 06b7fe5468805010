"""Periodic spectra: the sum of the modes, written out, must be the kernel summed over images; given spectra stay as given."""

from __future__ import annotations

import math

import numpy as np
import pytest

from gptex.errors import RecipeError
from gptex.fields import (
    Matern,
    PowerSpectrum,
    RationalQuadratic,
    SquaredExponential,
    spectrum,
)
from gptex.fields.modes import mode_numbers

from .cases import CASES, ROUNDING, ids


@pytest.mark.parametrize("tolerance", [1e-8, 1e-3])
@pytest.mark.parametrize(("shape", "length_scale", "kernel"), CASES, ids=ids)
def test_periodic_covariance_is_the_sum_over_images(covariance_of, sum_over_images, shape, length_scale, kernel, tolerance):
    found = spectrum(shape, kernel, length_scale, "periodic", tolerance)
    error = np.abs(covariance_of(found, shape) - sum_over_images(kernel, shape, length_scale)).max()
    assert found.torus == shape
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance
    assert (found.variance >= 0).all()


def test_rational_quadratic_of_slow_tails_is_summed_over_all_its_images(covariance_of):
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
def test_power_spectrum_shares_a_variance_of_one_among_the_modes_as_it_says(covariance_of, shape):
    def power(q):
        return 1 / (1 + q**2)

    found = spectrum(shape, PowerSpectrum(power=power), 2.0, "periodic", 1e-8)
    assert covariance_of(found, shape)[tuple(n - 1 for n in shape)] == pytest.approx(1, abs=1e-12)
    wavenumber = sum((2 * math.pi * m / n) ** 2 for m, n in zip(mode_numbers(shape, found.cutoff), shape, strict=True)) ** 0.5
    np.testing.assert_allclose(found.variance / found.variance.flat[0], power(2 * wavenumber), rtol=1e-12)


def test_power_spectrum_without_power_at_zero_makes_fields_of_mean_zero():
    found = spectrum((16, 16), PowerSpectrum(power=lambda q: q**2 * np.exp(-q)), 2.0, "periodic", 1e-8)
    assert found.variance[0, 0] == 0


def test_power_spectrum_that_misses_every_mode_is_refused():
    with pytest.raises(RecipeError, match="no power on the 8x8 modes"):
        spectrum((8, 8), PowerSpectrum(power=((100.0, 1.0), (101.0, 1.0))), 1.0, "periodic", 1e-8)


@pytest.mark.parametrize(
    ("shape", "length_scale", "tolerance"),
    [((6,), 1.914, 1e-8), ((6,), 1.936, 1e-8), ((4, 4, 4), 1.361, 4.5e-4), ((10, 2), 0.643, 1.37e-8)],
)
def test_periodic_loss_holds_on_the_smallest_grids(covariance_of, sum_over_images, shape, length_scale, tolerance):
    found = spectrum(shape, SquaredExponential(), length_scale, "periodic", tolerance)
    error = np.abs(covariance_of(found, shape) - sum_over_images(SquaredExponential(), shape, length_scale)).max()
    assert error <= found.loss + ROUNDING
    assert found.loss <= tolerance


@pytest.mark.parametrize(("shape", "alpha"), [((64,), 0.51), ((64, 64), 1.00001), ((64, 64), 1.05), ((16, 16, 16), 1.51)])
def test_a_periodic_field_whose_far_images_add_up_is_refused(shape, alpha):
    with pytest.raises(RecipeError, match="images"):
        spectrum(shape, RationalQuadratic(alpha=alpha), shape[0] / 19, "periodic", 1e-8)


@pytest.mark.parametrize(("shape", "kernel"), [((16, 16, 16), Matern(nu=0.8)), ((9, 8, 10), Matern(nu=0.3))], ids=ids)
def test_many_images_in_three_dimensions_are_summed(covariance_of, sum_over_images, shape, kernel):
    found = spectrum(shape, kernel, 0.9, "periodic", 1e-8)
    error = np.abs(covariance_of(found, shape) - sum_over_images(kernel, shape, 0.9)).max()
    assert error <= found.loss + ROUNDING


class Counting(Matern):
    """A Matérn kernel that counts the distances it is asked for."""

    asked = 0

    def correlation(self, r):
        Counting.asked += np.size(r)
        return super().correlation(r)


def test_a_distance_that_recurs_is_computed_once():
    Counting.asked = 0
    spectrum((32, 32, 32), Counting(nu=0.1), 3.0, "periodic", 1e-8)  # some ten images away on each axis
    assert Counting.asked < 2**20  # of 17**3 lags and 21**3 images


def test_a_sum_over_images_without_end_is_refused():
    with pytest.raises(RecipeError, match="falls fast enough"):
        spectrum((128, 128, 128), Matern(nu=0.1, aspect=2.0, angle=30.0), 8.0, "periodic", 1e-8)
