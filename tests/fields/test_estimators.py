"""Estimators against sums written out: the DFT by its definition, the autocovariance pair by pair."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gptex.errors import GptexError
from gptex.fields import autocovariance, radial_power_spectrum

SHAPES = [(7,), (8,), (5, 6), (6, 9), (4, 4), (3, 4, 5)]
every_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


def noise(shape):
    return np.random.default_rng(0).standard_normal(shape)


def modes_of(field):
    """Every mode but the mean by the definition of the DFT: pairs |k|, |F|² / N."""
    pixels = np.stack(np.meshgrid(*map(np.arange, field.shape), indexing="ij"), axis=-1)
    modes = []
    for number in itertools.product(*(range(-((n - 1) // 2), n // 2 + 1) for n in field.shape)):
        k = 2 * math.pi * np.array(number) / field.shape
        if any(number):
            modes.append((math.hypot(*k), abs((field * np.exp(-1j * pixels @ k)).sum()) ** 2 / field.size))
    return modes


# Power spectrum


@every_shape
def test_power_is_the_mean_over_shells_one_fundamental_wide(shape):
    field, width = noise(shape), 2 * math.pi / max(shape)
    shells = {}
    for k, power in modes_of(field):
        shells.setdefault(math.floor(k / width + 0.5 + 1e-9), []).append((k, power))
    found = radial_power_spectrum(field)
    expected = [(*np.mean(modes, axis=0), len(modes)) for _, modes in sorted(shells.items())]
    np.testing.assert_allclose(np.column_stack(found), expected, rtol=1e-12)


@pytest.mark.parametrize("bins", [1, 2, 3, 50])
@every_shape
def test_power_is_the_mean_over_the_bins_asked_for(shape, bins):
    field = noise(shape)
    modes = modes_of(field)
    largest = max(k for k, _ in modes)
    shells = {}
    for k, power in modes:
        shells.setdefault(min(math.floor(k / largest * bins * (1 - 1e-11)), bins - 1), []).append((k, power))
    found = radial_power_spectrum(field, bins)
    expected = [(*np.mean(modes, axis=0), len(modes)) for _, modes in sorted(shells.items())]
    np.testing.assert_allclose(np.column_stack(found), expected, rtol=1e-12)


@every_shape
def test_power_over_all_modes_is_the_variance(shape):
    field = noise(shape)
    found = radial_power_spectrum(field)
    assert found.modes.sum() == field.size - 1
    assert (found.power * found.modes).sum() / field.size == pytest.approx(field.var(), rel=1e-12)  # Parseval


@pytest.mark.parametrize(("shape", "number"), [((32,), (5,)), ((20, 20), (3, 4)), ((15, 20), (0, 6)), ((8, 8, 8), (1, 2, 2))])
def test_a_wave_has_its_power_at_its_wavenumber(shape, number):
    pixels = np.meshgrid(*map(np.arange, shape), indexing="ij")
    wave = np.cos(2 * math.pi * sum(m * x / n for m, x, n in zip(number, pixels, shape, strict=True)) + 0.4)
    found = radial_power_spectrum(wave)
    strongest = int(found.power.argmax())
    k = 2 * math.pi * math.hypot(*(m / n for m, n in zip(number, shape, strict=True)))
    assert abs(found.wavenumber[strongest] - k) < math.pi / max(shape)
    assert found.power[strongest] * found.modes[strongest] == pytest.approx(wave.size / 2, rel=1e-12)
    assert np.delete(found.power, strongest).max() < 1e-25


def test_white_noise_has_a_flat_spectrum_of_its_variance():
    found = radial_power_spectrum(3 * noise((256, 256)))
    error = (found.power / 9 - 1) * np.sqrt(found.modes / 2)  # a mode and its conjugate have one power
    assert np.abs(error).max() < 6


# Autocovariance


@every_shape
def test_periodic_autocovariance_is_the_mean_over_all_pairs_around_the_torus(shape):
    field = noise(shape)
    found = autocovariance(field)
    assert found.shape == shape
    for lag in np.ndindex(shape):
        pairs = [field[x] * field[tuple((a + b) % n for a, b, n in zip(x, lag, shape, strict=True))] for x in np.ndindex(shape)]
        assert found[lag] == pytest.approx(sum(pairs) / field.size, abs=1e-12)


@every_shape
def test_open_autocovariance_is_the_mean_over_the_pairs_there_are(shape):
    field = noise(shape)
    found = autocovariance(field, "open")
    assert found.shape == tuple(2 * n - 1 for n in shape)
    for lag in itertools.product(*(range(1 - n, n) for n in shape)):
        there = [tuple(a + b for a, b in zip(x, lag, strict=True)) for x in np.ndindex(shape)]
        inside = [
            (x, y)
            for x, y in zip(np.ndindex(shape), there, strict=True)
            if all(0 <= a < n for a, n in zip(y, shape, strict=True))
        ]
        expected = sum(field[x] * field[y] for x, y in inside) / len(inside)
        assert found[lag] == pytest.approx(expected, abs=1e-12)  # negative lags count from the end


def test_the_mean_is_taken_as_zero():
    np.testing.assert_allclose(autocovariance(np.full((4, 5), 3.0)), 9.0)
    np.testing.assert_allclose(autocovariance(np.full((4, 5), 3.0), "open"), 9.0)


def test_estimates_are_made_in_float64():
    field = noise((6, 5)).astype(np.float32)
    assert autocovariance(field).dtype == np.float64
    np.testing.assert_array_equal(autocovariance(field, "open"), autocovariance(field.astype(np.float64), "open"))
    np.testing.assert_array_equal(radial_power_spectrum(field).power, radial_power_spectrum(field.astype(np.float64)).power)


# Errors


@pytest.mark.parametrize("estimate", [autocovariance, radial_power_spectrum])
@pytest.mark.parametrize(
    ("field", "message"),
    [
        (np.float64(3), "one to three axes"),
        (np.ones((2, 2, 2, 2)), "one to three axes"),
        (np.ones(1), "at least two pixels"),
        (np.ones((0, 4)), "at least two pixels"),
        ([1.0, math.nan], "not finite"),
        ([[1.0, 2.0], [math.inf, 0.0]], "not finite"),
    ],
)
def test_what_is_no_field_is_refused(estimate, field, message):
    with pytest.raises(GptexError, match=message):
        estimate(field)


def test_other_boundaries_are_refused():
    with pytest.raises(GptexError, match="boundary must be periodic or open, not 'torus'"):
        autocovariance(np.ones((3, 3)), "torus")


@pytest.mark.parametrize("bins", [0, -1])
def test_a_spectrum_has_at_least_one_bin(bins):
    with pytest.raises(GptexError, match="at least one bin"):
        radial_power_spectrum(np.eye(4), bins)
