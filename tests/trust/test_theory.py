"""Expected periodograms against brute force: the dense covariance matrix C of all pixels, P_m = f* T C T f."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from gptex import Component, Recipe
from gptex.fields import Exponential, Matern, RationalQuadratic, SquaredExponential
from gptex.trust.theory import Theory, covariance, expected_periodogram, rounding, tapers

STRETCHED = SquaredExponential(aspect=2, angle=30)
CASES = [
    ("squared-exponential", {}, SquaredExponential()),
    ("exponential", {}, Exponential()),
    ("matern", {"nu": 1.5}, Matern(nu=1.5)),
    ("matern", {"nu": 0.7}, Matern(nu=0.7)),
    ("rational-quadratic", {"alpha": 8.0}, RationalQuadratic(alpha=8.0)),
    ("squared-exponential", {"aspect": 2, "angle": 30}, STRETCHED),
]
every_kernel = pytest.mark.parametrize(("name", "parameters", "kernel"), CASES, ids=[f"{c[0]}{c[1]}" for c in CASES])
every_boundary = pytest.mark.parametrize("boundary", ["periodic", "open"])
GRIDS = [(12,), (13,), (6, 8), (7, 6), (5, 7), (9, 1), (4, 3, 5), (3, 4, 4)]


def dense(kernel, length_scale, boundary, shape, reach=30):
    """Covariance of all pixels, summed over images where periodic."""
    pixels = [axis.ravel().astype(float) for axis in np.indices(shape)]
    lags = [x[:, None] - x for x in pixels]
    if boundary == "open":
        return kernel.covariance(lags, length_scale)
    shifts = itertools.product(*(range(-reach // n - 1, reach // n + 2) for n in shape))
    return sum(kernel.covariance([lag + i * n for lag, i, n in zip(lags, s, shape, strict=True)], length_scale) for s in shifts)


def taper(shape):
    """Hann's window at the middles of pixels, of mean square 1."""
    window = np.ones(shape)
    for axis, n in enumerate(shape):
        if n > 1:
            t = np.array([2 * math.sin(math.pi * (x + 0.5) / n) ** 2 for x in range(n)])
            t /= np.sqrt(np.mean(t * t))
            window = window * t.reshape([-1 if a == axis else 1 for a in range(len(shape))])
    return window.ravel()


def modes(shape):
    """Fourier vectors of the half spectrum, one a row, of length 1."""
    pixels = [axis.ravel() for axis in np.indices(shape)]
    numbers = itertools.product(*(range(n) for n in shape[:-1]), range(shape[-1] // 2 + 1))
    rows = [np.exp(-2j * np.pi * sum(m * x / n for m, x, n in zip(number, pixels, shape, strict=True))) for number in numbers]
    return np.array(rows) / math.sqrt(math.prod(shape))


def half(shape):
    return (*shape[:-1], shape[-1] // 2 + 1)


def brute_force(matrix, window, shape):
    f = modes(shape) * window
    return np.einsum("mx,xy,my->m", f, matrix, f.conj()).real.reshape(half(shape))


@every_boundary
@every_kernel
@pytest.mark.parametrize("shape", GRIDS, ids=str)
def test_expected_periodogram_is_that_of_the_dense_matrix(shape, name, parameters, kernel, boundary):
    if "aspect" in parameters and len(shape) == 1:
        pytest.skip("no stretch in one dimension")
    component = Component(name="a", kernel=name, length_scales=[0.9], boundary=boundary, **parameters)
    field = covariance(shape, component, 0.9)
    matrix = dense(kernel, 0.9, boundary, shape, reach=30 if len(shape) < 3 else 14)
    for tapered in (True, False):
        window = taper(shape) if tapered else np.ones(math.prod(shape))
        found = expected_periodogram(field, tapers(shape, tapered), wrapped=boundary == "periodic" and not tapered)
        np.testing.assert_allclose(found, brute_force(matrix, window, shape), rtol=1e-6, atol=1e-9)


def test_a_sum_over_images_without_end_is_that_of_many():
    """Rational quadratic, periodic: its tail is so heavy that the table comes from the spectrum."""
    shape, component = (24,), Component(name="a", kernel="rational-quadratic", alpha=1.5, length_scales=[0.6])
    field = covariance(shape, component, 0.6)
    lags = np.arange(24)
    direct = sum(RationalQuadratic(alpha=1.5).covariance([lags + 24 * n], 0.6) for n in range(-20_000, 20_001))
    np.testing.assert_allclose(field([lags]), direct, atol=2e-8)


@pytest.mark.parametrize("scale", [0.4, 1.0, 2.5])
def test_image_sums_have_all_images_and_lags_of_both_signs(scale):
    shape, kernel = (10, 7), SquaredExponential(aspect=2, angle=30)
    component = Component(name="a", aspect=2, angle=30, length_scales=[scale])
    lags = [np.arange(-12, 15), np.arange(-9, 9)]
    direct = sum(
        kernel.covariance(np.ix_(lags[0] + 10 * i, lags[1] + 7 * j), scale)
        for i, j in itertools.product(range(-8, 9), repeat=2)
    )
    np.testing.assert_allclose(covariance(shape, component, scale)(lags), direct, atol=1e-10)


@every_boundary
def test_a_table_of_the_squared_exponentials_spectrum_has_its_periodogram(boundary):
    q = np.linspace(0, 12, 4000)
    table = list(zip(q.tolist(), np.exp(-(q**2) / 2).tolist(), strict=True))
    given = Component(name="a", kernel="spectrum", spectrum=table, length_scales=[2], boundary=boundary, tolerance=1e-6)
    shape = (24, 26)
    windows = tapers(shape, boundary == "open")
    found = expected_periodogram(covariance(shape, given, 2.0), windows, wrapped=boundary == "periodic")
    window = taper(shape) if boundary == "open" else np.ones(math.prod(shape))
    expected = brute_force(dense(SquaredExponential(), 2.0, boundary, shape), window, shape)
    np.testing.assert_allclose(found, expected, atol=2e-4)


# A recipe as a whole


def two_scales(boundaries, shape=(9, 8), standardize=False):
    fine = Component(name="fine", kernel="exponential", length_scales=[0.8, 1], weight=0.75, boundary=boundaries[0])
    coarse = Component(name="coarse", length_scales=[1.5], weight=1.25, boundary=boundaries[1])
    return Recipe(
        name="two", shape=list(shape), components=[fine, coarse], noise_std=0.3, standardize=standardize, dtype="float64"
    )


def dense_parts(recipe, scales=(0.8, 1.5)):
    kernels = (Exponential(), SquaredExponential())
    return [
        dense(kernel, scale, component.boundary, recipe.shape)
        for kernel, scale, component in zip(kernels, scales, recipe.components, strict=True)
    ]


def dense_power(recipe, scales=(0.8, 1.5)):
    """Of the textures; with standardization, of fields divided by their expected variance about the mean."""
    n = math.prod(recipe.shape)
    total = recipe.noise_std**2 * np.eye(n)
    for part, component in zip(dense_parts(recipe, scales), recipe.components, strict=True):
        scaled = part / (np.trace(part) / n - part.sum() / n**2) if recipe.standardize else part
        total = total + component.weight**2 * scaled
    window = taper(recipe.shape) if any(c.boundary == "open" for c in recipe.components) else np.ones(n)
    return brute_force(total, window, recipe.shape)


every_mixture = pytest.mark.parametrize(
    "boundaries", [("periodic", "periodic"), ("periodic", "open"), ("open", "open")], ids="-".join
)


@every_mixture
@pytest.mark.parametrize("standardize", [False, True])
def test_the_reference_and_its_slopes_are_those_of_the_dense_matrix(boundaries, standardize):
    recipe = two_scales(boundaries, standardize=standardize)
    found = Theory(recipe).of_class(0)
    np.testing.assert_allclose(found.reference, dense_power(recipe), rtol=1e-6)
    np.testing.assert_allclose(found.power, dense_power(recipe.replace(standardize=False)), rtol=1e-6)
    np.testing.assert_allclose(Theory(recipe).reference(0), found.reference, rtol=1e-12)
    step = 1e-3
    for number, slope in enumerate(found.slopes):
        up, down = ([0.8, 1.5] for _ in range(2))
        up[number] *= math.exp(step)
        down[number] *= math.exp(-step)
        direct = np.log(dense_power(recipe, up) / dense_power(recipe, down)) / (2 * step)
        np.testing.assert_allclose(slope, direct, rtol=2e-3, atol=2e-4)


@every_mixture
def test_variances_and_covariances_are_those_of_the_dense_matrix(boundaries):
    recipe = two_scales(boundaries)
    n, found = math.prod(recipe.shape), Theory(recipe).of_class(0)
    matrix = recipe.noise_std**2 * np.eye(n) + sum(
        component.weight**2 * part for component, part in zip(recipe.components, dense_parts(recipe), strict=True)
    )
    about_mean = np.eye(n) - np.full((n, n), 1 / n)
    assert found.mean_variance == pytest.approx(matrix.sum() / n**2, rel=1e-9)
    assert found.variance == pytest.approx(np.trace(about_mean @ matrix) / n, rel=1e-9)
    by_lag = matrix[0].reshape(recipe.shape)
    np.testing.assert_allclose(found.covariances[0], by_lag[:5, 0], rtol=1e-9)
    np.testing.assert_allclose(found.covariances[1], by_lag[0, :5], rtol=1e-9)


def test_a_standardized_texture_has_the_sum_of_the_weights_squares_as_its_variance():
    recipe = two_scales(("periodic", "open"), standardize=True)
    found = Theory(recipe).of_class(0)
    assert found.variance == pytest.approx(0.75**2 + 1.25**2 + 0.09 * 71 / 72, rel=1e-9)
    assert found.mean_variance == pytest.approx(0.09 / 72, rel=1e-9)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("shape", [(8, 9), (16,), (3, 4, 4)], ids=str)
def test_the_periodogram_of_an_image_is_its_squared_product_with_each_mode(shape, boundary):
    theory = Theory(
        Recipe(name="a", shape=list(shape), components=[Component(name="a", length_scales=[0.7], boundary=boundary)])
    )
    image = np.random.default_rng(0).standard_normal(shape)
    window = taper(shape) if boundary == "open" else np.ones(math.prod(shape))
    direct = np.abs(modes(shape) @ (window * image.ravel())) ** 2
    np.testing.assert_allclose(theory.periodogram(image), direct.reshape(half(shape)), atol=1e-12)
    assert theory.transform(image)[1] == pytest.approx(((window * image.ravel()) ** 2).sum())


def test_at_the_largest_length_scale_that_a_torus_allows_there_are_slopes_too():
    largest = 2.11  # of this field; some more is refused
    kernel = {"kernel": "rational-quadratic", "alpha": 2.0}
    recipe = Recipe(name="a", shape=[32, 32], components=[Component(name="a", length_scales=[largest], **kernel)])
    recipe.texture("train", 0)
    assert np.isfinite(Theory(recipe).of_class(0).slopes).all()


@pytest.mark.parametrize("variance", [0.3, 1.0, 2.2])
def test_rounding_to_float16_adds_as_much_as_stated(variance):
    exact = math.sqrt(variance) * np.random.default_rng(0).standard_normal(400_000)
    added = np.square(exact.astype(np.float16) - exact)
    assert rounding(variance, "float16") == pytest.approx(added.mean(), rel=0.02)


def test_the_rounding_of_float16_is_white_noise_in_the_theory():
    """Of a field smooth enough that nothing else is left at the highest wave numbers, measured there."""
    recipe = Recipe(
        name="a", shape=[64, 64], components=[Component(name="a", length_scales=[4], tolerance=1e-10)], dtype="float16"
    )
    theory = Theory(recipe)
    high = np.s_[24:40, 24:]
    measured = np.mean([theory.periodogram(recipe.texture("train", n).image)[high] for n in range(20)])
    assert theory.reference(0)[high].mean() == pytest.approx(measured, rel=0.1)
    assert theory.reference(0)[high].max() < 1e-6 < theory.reference(0).mean()
