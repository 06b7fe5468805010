"""The covariance of many independent fields against the kernel itself (open) or its sum over images (periodic).

Three tests, each sharper than the one before:

- the covariance lag by lag, with its error estimated from field to field;
- the Mahalanobis distance fᵀ K⁻¹ f of each field under the dense covariance matrix K of the kernel, which is chi-square with
  as many degrees of freedom as pixels;
- the likelihood ratio of K against the sample covariance of all pixels, which sees every element of K (Muirhead 1982, §8.4).

Dense Cholesky draws pass the same tests; fields whose length scale is wrong by a tenth, whose stretch is mirrored or whose
boundary is the other one must fail.

All tests of this module together fail by chance about once in a million seeds; the seeds are fixed.
"""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from gptex.fields import Exponential, Matern, PowerSpectrum, RationalQuadratic, Sampler, SquaredExponential

FALSE_ALARM = 1e-6
CHECKS = 400  # more than there are in this module

KERNELS = [
    (SquaredExponential(), 1.2),
    (SquaredExponential(aspect=2, angle=30), 0.8),
    (Exponential(), 1.3),
    (Exponential(aspect=0.5, angle=90), 1.6),
    (Matern(nu=0.7), 1.3),
    (Matern(nu=1.5), 1.3),
    (Matern(nu=2.5), 1.3),
    (RationalQuadratic(alpha=8.0), 1.0),
]
every_kernel = pytest.mark.parametrize(("kernel", "length_scale"), KERNELS, ids=str)
boundaries = pytest.mark.parametrize("boundary", ["open", "periodic"])


def true_covariance(kernel, length_scale, boundary, shape, lag):
    """k(lag), or Σ_n k(lag + n N); `lag` holds one broadcastable array an axis."""
    if boundary == "open":
        return kernel.covariance(lag, length_scale)
    images = itertools.product(range(-9, 10), repeat=len(shape))
    return sum(
        kernel.covariance([x + i * n for x, i, n in zip(lag, image, shape, strict=True)], length_scale) for image in images
    )


# Lag by lag

LAGS = {
    1: [(0,), (1,), (2,), (7,)],
    2: [(0, 0), (0, 1), (1, 0), (1, 1), (1, -1), (2, 3), (8, 0), (5, -9)],
    3: [(0, 0, 0), (0, 0, 1), (1, 0, 0), (1, 1, -1), (3, 2, 1)],
}


def mean_product(field, lag, boundary):
    """Mean of f(x) f(x + lag) over all pairs of pixels."""
    if boundary == "periodic":
        return (field * np.roll(field, [-step for step in lag], axis=range(field.ndim))).mean()
    first = field[tuple(slice(max(0, -step), n - max(0, step)) for step, n in zip(lag, field.shape, strict=True))]
    other = field[tuple(slice(max(0, step), n - max(0, -step)) for step, n in zip(lag, field.shape, strict=True))]
    return (first * other).mean()


def lags_that_differ(sampler, kernel, length_scale, fields=500):
    """The lags at which the mean covariance of `fields` fields is not the true one."""
    lags = LAGS[len(sampler.shape)]
    found = np.array([[mean_product(field, lag, sampler.boundary) for lag in lags] for field in map(sampler, range(fields))])
    error = found.std(axis=0, ddof=1) / np.sqrt(fields)
    true = [float(true_covariance(kernel, length_scale, sampler.boundary, sampler.shape, lag)) for lag in lags]
    limit = scipy.stats.t(fields - 1).isf(FALSE_ALARM / CHECKS / 2)
    return [lag for lag, z in zip(lags, (found.mean(axis=0) - true) / error, strict=True) if abs(z) > limit]


@boundaries
@every_kernel
def test_covariance_is_the_kernel_at_every_lag(kernel, length_scale, boundary):
    sampler = Sampler((20, 24), kernel, length_scale, boundary=boundary, dtype="float64")
    assert lags_that_differ(sampler, kernel, length_scale) == []


@boundaries
@pytest.mark.parametrize("shape", [(40,), (41,), (8, 10, 9)], ids=str)
@pytest.mark.parametrize("kernel", [SquaredExponential(), Exponential(), Matern(nu=1.5)], ids=str)
def test_covariance_is_the_kernel_in_one_and_three_dimensions(kernel, shape, boundary):
    sampler = Sampler(shape, kernel, 1.2, boundary=boundary)
    assert lags_that_differ(sampler, kernel, 1.2) == []


@pytest.mark.parametrize(
    ("kernel", "length_scale"),
    [(SquaredExponential(), 12.0), (SquaredExponential(), 60.0), (Matern(nu=1.5), 12.0), (RationalQuadratic(alpha=3.0), 2.0)],
    ids=str,
)
def test_open_covariance_is_the_kernel_for_long_scales_and_tails(kernel, length_scale):
    sampler = Sampler((20, 24), kernel, length_scale, boundary="open")
    assert lags_that_differ(sampler, kernel, length_scale, fields=1000) == []


@boundaries
def test_a_kernels_own_power_spectrum_gives_its_covariance(boundary):
    sampler = Sampler((30, 26), PowerSpectrum(power=lambda q: np.exp(-(q**2) / 2)), 2.0, boundary=boundary)
    assert lags_that_differ(sampler, SquaredExponential(), 2.0) == []


@boundaries
def test_covariance_of_a_length_scale_wrong_by_a_tenth_differs(boundary):
    wrong = Sampler((20, 24), Exponential(), 1.1 * 1.3, boundary=boundary)
    assert {(0, 1), (1, 0), (1, 1)} <= set(lags_that_differ(wrong, Exponential(), 1.3, fields=3000))


# Mahalanobis distance


def dense_covariance(kernel, length_scale, boundary, shape):
    """The covariance matrix of all pixels."""
    pixels = [axis.ravel().astype(float) for axis in np.indices(shape)]
    lags = [x[:, None] - x for x in pixels]
    return np.asarray(true_covariance(kernel, length_scale, boundary, shape, lags))


def drawn(shape, kernel, length_scale, boundary, count=1500):
    sampler = Sampler(shape, kernel, length_scale, boundary=boundary, dtype="float64")
    return np.stack([sampler(seed).ravel() for seed in range(count)])


def cholesky_drawn(covariance, count=1500):
    return np.random.default_rng(0).standard_normal((count, len(covariance))) @ np.linalg.cholesky(covariance).T


def whitened(fields, covariance):
    """What is white noise if the fields have the covariance, one row a field."""
    return scipy.linalg.solve_triangular(np.linalg.cholesky(covariance), fields.T, lower=True).T


def distances_differ(fields, covariance):
    squared_distance = (whitened(fields, covariance) ** 2).sum(axis=1)
    return scipy.stats.kstest(squared_distance, scipy.stats.chi2(len(covariance)).cdf).pvalue < FALSE_ALARM / CHECKS


@boundaries
@pytest.mark.parametrize("shape", [(9, 8), (8, 9)], ids=str)
@every_kernel
def test_mahalanobis_distances_are_chi_square(kernel, length_scale, shape, boundary):
    fields = drawn(shape, kernel, length_scale, boundary)
    assert not distances_differ(fields, dense_covariance(kernel, length_scale, boundary, shape))


@boundaries
@pytest.mark.parametrize(("shape", "length_scale"), [((40,), 1.5), ((41,), 1.5), ((4, 5, 4), 0.7)], ids=str)
def test_mahalanobis_distances_are_chi_square_in_one_and_three_dimensions(shape, length_scale, boundary):
    fields = drawn(shape, Matern(nu=1.5), length_scale, boundary)
    assert not distances_differ(fields, dense_covariance(Matern(nu=1.5), length_scale, boundary, shape))


@boundaries
def test_mahalanobis_distances_of_cholesky_draws_are_chi_square(boundary):
    covariance = dense_covariance(Exponential(), 1.3, boundary, (9, 8))
    assert not distances_differ(cholesky_drawn(covariance), covariance)


@boundaries
@pytest.mark.parametrize(("kernel", "length_scale"), [KERNELS[0], KERNELS[2], KERNELS[5], KERNELS[7]], ids=str)
@pytest.mark.parametrize("factor", [0.9, 1.1])
def test_mahalanobis_distances_find_a_length_scale_wrong_by_a_tenth(kernel, length_scale, factor, boundary):
    fields = drawn((9, 8), kernel, factor * length_scale, boundary)
    assert distances_differ(fields, dense_covariance(kernel, length_scale, boundary, (9, 8)))


# Likelihood ratio


def covariances_differ(fields, covariance):
    """The likelihood ratio test of the covariance, with Bartlett's correction to its chi-square distribution."""
    count, p = fields.shape
    white = whitened(fields, covariance)
    sample = white.T @ white / count
    statistic = count * (np.trace(sample) - np.linalg.slogdet(sample).logabsdet - p)
    correction = 1 - (2 * p**2 + 3 * p - 1) / (6 * count * (p + 1))
    return scipy.stats.chi2(p * (p + 1) / 2).sf(correction * statistic) < FALSE_ALARM / CHECKS


SMALL = (4, 5)  # pixels


@boundaries
@pytest.mark.parametrize("shape", [(20,), (4, 5), (5, 4), (3, 2, 3)], ids=str)
@pytest.mark.parametrize("kernel", [SquaredExponential(), Exponential(), Matern(nu=0.7), Matern(nu=1.5)], ids=str)
def test_likelihood_ratio_finds_nothing(kernel, shape, boundary):
    length_scale = 0.5 if len(shape) == 3 else 0.9
    fields = drawn(shape, kernel, length_scale, boundary)
    assert not covariances_differ(fields, dense_covariance(kernel, length_scale, boundary, shape))


@boundaries
@pytest.mark.parametrize("angle", [0, 30, 90, 120])
def test_likelihood_ratio_finds_nothing_in_stretched_fields(angle, boundary):
    kernel = SquaredExponential(aspect=2, angle=angle)
    fields = drawn(SMALL, kernel, 0.5, boundary)
    assert not covariances_differ(fields, dense_covariance(kernel, 0.5, boundary, SMALL))


@boundaries
@every_kernel
def test_likelihood_ratio_finds_nothing_in_cholesky_draws(kernel, length_scale, boundary):
    covariance = dense_covariance(kernel, length_scale, boundary, SMALL)
    assert not covariances_differ(cholesky_drawn(covariance), covariance)


@boundaries
@pytest.mark.parametrize("factor", [0.9, 1.1])
@pytest.mark.parametrize("kernel", [SquaredExponential(), Exponential(), Matern(nu=1.5)], ids=str)
def test_likelihood_ratio_finds_a_length_scale_wrong_by_a_tenth(kernel, factor, boundary):
    fields = drawn(SMALL, kernel, factor * 0.9, boundary, count=5000)
    assert covariances_differ(fields, dense_covariance(kernel, 0.9, boundary, SMALL))


@boundaries
def test_likelihood_ratio_finds_a_mirrored_stretch(boundary):
    right, mirrored = SquaredExponential(aspect=2, angle=30), SquaredExponential(aspect=2, angle=-30)
    assert covariances_differ(drawn(SMALL, mirrored, 0.5, boundary), dense_covariance(right, 0.5, boundary, SMALL))


@pytest.mark.parametrize(("boundary", "other"), [("open", "periodic"), ("periodic", "open")])
def test_likelihood_ratio_finds_the_other_boundary(boundary, other):
    fields = drawn(SMALL, Exponential(), 0.9, boundary)
    assert covariances_differ(fields, dense_covariance(Exponential(), 0.9, other, SMALL))
