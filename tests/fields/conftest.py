"""What the tests of spectra share: covariances summed by their definition. Nothing here uses an FFT or a spectral density."""

from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest

from gptex.fields.modes import mode_numbers


def _window_lags(shape):
    return [np.arange(1.0 - n, n) for n in shape]


@pytest.fixture
def window_lags():
    """Of a shape: the lags of its window along each axis, of both signs."""
    return _window_lags


@pytest.fixture
def covariance_of():
    """Of a spectrum and a shape: the sum of all modes' waves at every lag of the window."""

    def covariance_of(found, shape):
        """Σ p_m cos(2π m·lag / N) over the whole torus at every lag of the window; the half not stored has the same p."""
        numbers = mode_numbers(found.torus, found.cutoff)
        turns = [number.ravel() / size for number, size in zip(numbers, found.torus, strict=True)]
        waves = [np.exp(2j * math.pi * np.outer(lag, turn)) for lag, turn in zip(_window_lags(shape), turns, strict=True)]
        column = np.arange(found.cutoff[-1] + 1)
        waves[-1] = waves[-1] * np.where((column == 0) | (2 * column == found.torus[-1]), 1, 2)
        covariance = found.variance
        for axis, wave in enumerate(waves):
            covariance = np.moveaxis(np.tensordot(wave, covariance, axes=(1, axis)), 0, axis)
        return covariance.real

    return covariance_of


@pytest.fixture
def sum_over_images():
    """Of a kernel, a shape and a length scale: the kernel summed over the images of every lag of the window."""

    def sum_over_images(kernel, shape, length_scale):
        """Σ_n k(lag + n N) over so many images that the rest is below rounding."""
        away = [
            math.ceil(kernel.reach(1e-15) * extent / n) + 1
            for extent, n in zip(kernel.extents(length_scale, len(shape)), shape, strict=True)
        ]
        total = 0.0
        for shift in itertools.product(*(range(-a, a + 1) for a in away)):
            moved = [lag + s * n for lag, s, n in zip(_window_lags(shape), shift, shape, strict=True)]
            total = total + kernel.covariance(np.ix_(*moved), length_scale)
        return total

    return sum_over_images


@pytest.fixture
def advised():
    """Of a caught error and a pattern: the number that stands behind it in the message."""
    return lambda error, pattern: float(re.search(pattern + r" ([\d.e+-]*\d)", str(error.value)).group(1))
