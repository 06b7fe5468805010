"""The marginal distribution: pixels of many independent fields are normal, of mean 0 and the variance of the kernel.

Pixels of one field are correlated, so each test takes one pixel of every field. All tests of this module together fail by
chance about once in a million seeds; the seeds are fixed.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats

from gptex.fields import Exponential, Matern, Sampler, SquaredExponential

FALSE_ALARM = 1e-6
CHECKS = 250  # more than there are in this module
FIELDS = 4000

# Length scales so short on the torus that the images add less than can be seen.
CASES = [
    ((24,), SquaredExponential(), 2.0, "periodic"),
    ((12, 15), SquaredExponential(), 1.2, "periodic"),
    ((16, 14), Exponential(), 0.6, "periodic"),
    ((12, 15), SquaredExponential(), 8.0, "open"),
    ((12, 15), Matern(nu=1.5), 2.0, "open"),
    ((5, 6, 4), SquaredExponential(), 0.6, "periodic"),
    ((5, 6, 4), SquaredExponential(), 2.0, "open"),
]


def departures(values):
    """The ways in which independent values are not standard normal."""
    count, share = len(values), FALSE_ALARM / CHECKS
    limit = scipy.stats.norm.isf(share / 2)
    checks = {
        "distribution": scipy.stats.kstest(values, "norm").pvalue > share,
        "mean": abs(values.mean()) < limit / math.sqrt(count),
        "variance": abs(values.var() - 1) < limit * math.sqrt(2 / count),
        "skewness": abs(scipy.stats.skew(values)) < limit * math.sqrt(6 / count),
        "kurtosis": abs(scipy.stats.kurtosis(values)) < 1.5 * limit * math.sqrt(24 / count),  # its own tail is a long one
    }
    return [name for name, passed in checks.items() if not passed]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("shape", "kernel", "length_scale", "boundary"), CASES, ids=str)
def test_pixels_are_standard_normal(shape, kernel, length_scale, boundary, dtype):
    sampler = Sampler(shape, kernel, length_scale, boundary=boundary, dtype=dtype)
    fields = np.stack([sampler(seed) for seed in range(FIELDS)]).astype(np.float64)
    for pixel in (tuple(0 for _ in shape), tuple(n // 2 for n in shape), tuple(n - 1 for n in shape)):
        assert departures(fields[(slice(None), *pixel)]) == []


def test_pixels_far_apart_are_jointly_normal():
    sampler = Sampler((40, 36), SquaredExponential(), 2.0)
    fields = np.stack([sampler(seed) for seed in range(1000)])
    square = (fields[:, 0:40:20, 0:36:18].astype(np.float64) ** 2).sum(axis=(1, 2))  # four pixels nine length scales apart
    assert scipy.stats.kstest(square, scipy.stats.chi2(4).cdf).pvalue > FALSE_ALARM / CHECKS


def test_fields_of_neighbouring_seeds_are_independent():
    sampler = Sampler((16, 16), Exponential(), 1.0)
    fields = np.stack([sampler(seed) for seed in range(FIELDS)]).astype(np.float64)
    products = fields[1:, 3, 5] * fields[:-1, 3, 5]
    assert abs(products.mean()) < scipy.stats.norm.isf(FALSE_ALARM / CHECKS / 2) / math.sqrt(FIELDS - 1)


def test_pixels_that_are_not_standard_normal_are_found():
    sampler = Sampler((16, 16), Exponential(), 0.6, dtype="float64")
    values = np.array([sampler(seed)[2, 3] for seed in range(FIELDS)])
    assert departures(values) == []
    assert departures(values + 0.15) == ["distribution", "mean"]
    assert departures(1.1 * values) == ["variance"]
    assert "skewness" in departures(values + 0.15 * (values**2 - 1))
    assert "kurtosis" in departures(values + 0.1 * values**3)
    assert "distribution" in departures(np.round(values))
