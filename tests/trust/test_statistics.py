"""Probabilities against scipy.stats, what is measured by brute force, and its scatter against white noise of numpy."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from gptex import Component, Recipe
from gptex.trust.examine import _length_scales
from gptex.trust.statistics import (
    ClassStatistics,
    gamma_p,
    overlaps,
    rank_scores,
    skewed_p,
    with_estimated_scatter,
)
from gptex.trust.theory import Theory


@pytest.mark.parametrize(("ratio", "variance"), [(1.1, 0.25), (0.2, 0.25), (3.0, 0.5), (1.01, 1e-5), (0.99, 1e-5), (1.0, 0.1)])
def test_gamma_p_is_twice_the_smaller_tail(ratio, variance):
    gamma = scipy.stats.gamma(1 / variance, scale=variance)
    assert (gamma.mean(), gamma.var()) == pytest.approx((1, variance))
    assert gamma_p(ratio, variance) == pytest.approx(min(1, 2 * min(gamma.cdf(ratio), gamma.sf(ratio))), rel=1e-9)


@pytest.mark.parametrize("skewness", [-1.5, -0.2, 0.0, 0.2, 1.5])
@pytest.mark.parametrize("z", [-4.0, -1.0, 0.3, 2.0, 6.0])
def test_skewed_p_is_that_of_pearsons_type_iii(z, skewness):
    pearson = scipy.stats.pearson3(skewness)
    expected = min(1, 2 * min(pearson.cdf(z), pearson.sf(z)))
    assert skewed_p(z, skewness) == pytest.approx(expected, rel=1e-6, abs=1e-300)


@pytest.mark.parametrize("p", [1.0, 0.3, 1e-3, 1e-8])
def test_estimated_scatter_gives_the_tails_of_students_t(p):
    z = scipy.stats.norm.isf(p / 2)
    assert with_estimated_scatter(p, 20) == pytest.approx(2 * scipy.stats.t(20).sf(z), rel=1e-6)
    assert with_estimated_scatter(0.0, 20) == 0


def test_rank_scores_are_van_der_waerdens():
    rng = np.random.default_rng(0)
    values, references = rng.standard_normal(7), rng.standard_normal(20)
    ranks = scipy.stats.rankdata(np.concatenate([values, references]))
    scores = scipy.stats.norm.ppf(ranks / 28)
    total, variance = rank_scores(values, references)
    assert total == pytest.approx(scores[:7].sum())
    shuffled = np.array([rng.permutation(scores)[:7].sum() for _ in range(20_000)])
    assert variance == pytest.approx(shuffled.var(), rel=0.05)


def test_overlaps_are_one_of_true_likelihoods_and_how_often_the_same_is_said_otherwise():
    true = np.random.default_rng(0).normal(-2, 2, size=(200_000, 1))  # variance -2 times the mean
    assert overlaps(true) == pytest.approx([1], abs=0.02)
    assert overlaps(3 * true) == pytest.approx([3], rel=0.02)
    assert overlaps(-true) == np.inf


# Of textures


def make(shape, boundary="periodic", **more):
    components = [
        Component(name="fine", kernel="exponential", length_scales=[1, 1.3], boundary=boundary),
        Component(name="coarse", kernel="exponential", length_scales=[2, 3]),
    ]
    return Recipe(name="small", shape=list(shape), components=components, dtype="float64", **more)


def white(statistics, shape, reference, rng):
    """An image whose modes are those of numpy's white noise times the root of the reference."""
    f = np.fft.rfftn(rng.standard_normal(shape)) * np.sqrt(reference)
    return np.fft.irfftn(f, s=shape, axes=range(len(shape)))


@pytest.mark.parametrize("shape", [(12, 14), (9, 11), (40,), (5, 6, 4)], ids=str)
def test_the_exact_scatter_is_that_of_white_noise(shape):
    statistics = ClassStatistics(Theory(make(shape)), 0)
    reference = statistics.theory.reference(0)
    rng = np.random.default_rng(1)
    sums = np.array([statistics.measure(white(statistics, shape, reference, rng)).sums for _ in range(2000)])
    exact = statistics.scatter(sums)
    n = statistics.rest  # the sums whose scatter is exact
    assert n == statistics.bands + len(statistics.columns) + 2
    mean = sums.mean(axis=0)
    errors = np.sqrt(np.diagonal(np.cov(sums.T)) / len(sums))
    assert (np.abs(mean - statistics.expected) < 4.5 * errors + 1e-9).all()
    found = np.cov(sums[:, :n].T)
    scale = np.sqrt(np.outer(np.diagonal(found), np.diagonal(found)))
    assert np.abs((found - exact[:n, :n]) / scale).max() < 0.15
    assert np.allclose(exact[n + 1 :, n + 1 :], np.cov(sums[:, n + 1 :].T))


@pytest.mark.parametrize(("boundary", "standardize"), [("periodic", False), ("open", False), ("open", True)])
def test_what_is_measured_is_what_brute_force_finds(boundary, standardize):
    shape = (12, 14)
    recipe = make(shape, boundary, standardize=standardize)
    theory = Theory(recipe)
    statistics = ClassStatistics(theory, 0)
    image = np.random.default_rng(2).standard_normal(shape).cumsum(axis=0) / 3
    found = statistics.measure(image)

    window = np.ones(shape)
    if boundary == "open":
        hann = [1 - np.cos(2 * np.pi * (np.arange(n) + 0.5) / n) for n in shape]
        window = np.outer(*(h / np.sqrt((h**2).mean()) for h in hann))
    power = np.abs(np.fft.fft2(image * window)) ** 2 / image.size  # the whole spectrum, every mode once
    own = theory.of_class(0)
    whole = {
        name: np.array([[half[i, j] if j <= 7 else half[-i % 12, 14 - j] for j in range(14)] for i in range(12)])
        for name, half in {
            "own": own.reference,
            "slope": own.slopes[1],
            **{f"other {n}": theory.reference(n) for n in statistics.neighbours},
        }.items()
    }
    used = whole["own"] >= 1e-4 * whole["own"].mean()
    near = 1 if boundary == "open" else 0
    if standardize:
        for i, j in itertools.product(range(-near, near + 1), repeat=2):
            used[i, j] = False
    whitened = np.where(used, power / whole["own"], 0)

    bands, columns = statistics.bands, len(statistics.columns)
    assert found.sums[:bands].sum() == pytest.approx(whitened.sum())
    assert statistics.modes.sum() == used.sum()
    assert statistics.columns == [
        f"waves of wave number {name} along axis {axis}" for axis in (0, 1) for name in ("0", "Nyquist's")
    ]
    by_hand = [whitened[0].sum(), whitened[6].sum(), whitened[:, 0].sum(), whitened[:, 7].sum()]
    np.testing.assert_allclose(found.sums[bands : bands + 4], by_hand)
    assert found.sums[bands + columns + 1] == pytest.approx((whitened * whole["slope"]).sum())
    np.testing.assert_allclose(found.moments[:2], [image.mean(), image.var()])
    np.testing.assert_allclose(found.moments[2:], [scipy.stats.skew(image.ravel()), scipy.stats.kurtosis(image.ravel()) + 3])
    for place, lag in enumerate(statistics.lags):
        down = np.mean([image[i, j] * image[i + lag, j] for i in range(12 - lag) for j in range(14)]) if lag <= 6 else None
        right = np.mean([image[i, j] * image[i, j + lag] for i in range(12) for j in range(14 - lag)])
        mean = right if down is None else (down + right) / 2
        assert found.sums[statistics.rest + 1 + place] == pytest.approx(mean)
    for place, label in enumerate(statistics.neighbours):
        other = whole[f"other {label}"]
        # log densities of independent complex normals, half of the modes being conjugates of the others
        logs = [-(np.log(p) + power / p)[used].sum() / 2 for p in (other, whole["own"])]
        assert found.ratios[place] == pytest.approx(logs[0] - logs[1])


def test_neighbours_differ_by_one_step_of_one_length_scale():
    components = [
        Component(name="a", length_scales=[3, 1, 2], kernel="exponential"),
        Component(name="b", length_scales=[1, 1.5], kernel="exponential"),
    ]
    recipe = Recipe(name="x", shape=[16, 16], components=components)
    order = [1, 2, 3]
    for label, (a, b) in enumerate(map(recipe.length_scales, range(6))):
        found = {recipe.length_scales(n) for n in ClassStatistics(Theory(recipe), label).neighbours}
        steps = {(order[i], b) for i in (order.index(a) - 1, order.index(a) + 1) if 0 <= i < 3}
        assert found == steps | {(a, 1.5 if b == 1 else 1)}


def test_the_likelihood_ratios_of_dependent_modes_are_tempered_enough():
    """E exp(ratio / overlap) ≤ 1 for open fields, by the determinant of the dense matrix: then exceeding K has p ≤ 1 / K."""
    shape, n = (8, 9), 72
    recipe = Recipe(
        name="x", shape=list(shape), components=[Component(name="a", length_scales=[1.2, 1.5], boundary="open")], noise_std=0.2
    )
    statistics = ClassStatistics(Theory(recipe), 0)
    pixels = [axis.ravel().astype(float) for axis in np.indices(shape)]
    square = sum((x[:, None] - x) ** 2 for x in pixels)
    matrix = np.exp(-square / 2 / 1.2**2) + 0.04 * np.eye(n)
    lower = np.linalg.cholesky(matrix)
    ratio = lambda x: statistics.measure((lower @ x).reshape(shape)).ratios[0]  # noqa: E731
    # ratio = a + xᵀ B x: from values at sums of unit vectors
    units = np.eye(n)
    constant = 2 * ratio(units[0]) - ratio(np.sqrt(2) * units[0])
    single = np.array([ratio(u) for u in units]) - constant
    form = np.diag(single)
    for i, j in itertools.combinations(range(n), 2):
        form[i, j] = form[j, i] = (ratio(units[i] + units[j]) - constant - single[i] - single[j]) / 2
    eigenvalues = np.linalg.eigvalsh(form)
    draws = constant + np.random.default_rng(0).standard_normal((50_000, n)) ** 2 @ eigenvalues
    assert draws.mean() == pytest.approx(constant + eigenvalues.sum(), abs=0.05)
    overlap = float(overlaps(draws[:, None])[0])
    assert overlap > 1.2  # modes under a taper do depend on each other
    assert (1 - 2 * eigenvalues / overlap > 0).all()
    logarithm = constant / overlap - 0.5 * np.log1p(-2 * eigenvalues / overlap).sum()
    assert logarithm <= 0.05
    assert constant - 0.5 * np.log(np.maximum(1 - 2 * eigenvalues, 1e-9)).sum() > logarithm


def test_a_component_that_cannot_be_seen_has_no_estimate():
    components = [Component(name="a", length_scales=[1]), Component(name="b", length_scales=[3], weight=0)]
    statistics = ClassStatistics(Theory(Recipe(name="x", shape=[16, 16], components=components)), 0)
    nothing = np.zeros(len(statistics.expected))
    rows, tests = _length_scales(statistics, nothing, np.eye(len(nothing)), 5, lambda p: p)
    assert [test.what for test in tests] == ["class 1-3, a length scale 1"]
    assert math.isnan(rows[1][1])
    assert rows[0][1] == pytest.approx(1)
