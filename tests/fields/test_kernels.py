"""Kernels against closed forms, exact half-integer sums and numerical transforms by scipy's quadrature.

Formulas: Rasmussen & Williams (2006), chapter 4. Transforms of radial functions: cosine in one dimension, J0 in two, sinc in
three.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from scipy.integrate import quad
from scipy.special import erfc, j0

from gptex.errors import RecipeError
from gptex.fields import (
    KERNELS,
    Exponential,
    Matern,
    PowerSpectrum,
    RationalQuadratic,
    SquaredExponential,
    kernel_by_name,
)

COVARIANCES = [
    SquaredExponential(),
    Exponential(),
    Matern(nu=0.3),
    Matern(nu=1.5),
    Matern(nu=2.5),
    Matern(nu=7.2),
    Matern(nu=30.5),
    RationalQuadratic(alpha=0.4),
    RationalQuadratic(alpha=1.0),
    RationalQuadratic(alpha=5.0),
]
every_kernel = pytest.mark.parametrize("kernel", COVARIANCES, ids=str)
DISTANCES = np.array([0.0, 0.01, 0.3, 1.0, 2.0, 4.5, 9.0])


# Correlation


@every_kernel
def test_correlation_is_one_at_zero_and_falls(kernel):
    values = kernel.correlation(np.linspace(0, 12, 200))
    assert values[0] == pytest.approx(1, abs=1e-15)
    assert (np.diff(values) < 0).all()
    assert (values > 0).all()


@pytest.mark.parametrize(
    ("kernel", "closed_form"),
    [
        (SquaredExponential(), lambda r: math.exp(-r * r / 2)),
        (Exponential(), lambda r: math.exp(-r)),
        (Matern(nu=0.5), lambda r: math.exp(-r)),
        (Matern(nu=1.5), lambda r: (1 + math.sqrt(3) * r) * math.exp(-math.sqrt(3) * r)),
        (Matern(nu=2.5), lambda r: (1 + math.sqrt(5) * r + 5 * r * r / 3) * math.exp(-math.sqrt(5) * r)),
        (RationalQuadratic(alpha=1.0), lambda r: 1 / (1 + r * r / 2)),
        (RationalQuadratic(alpha=0.5), lambda r: 1 / math.sqrt(1 + r * r)),
    ],
    ids=lambda value: getattr(value, "name", "formula"),
)
def test_correlation_is_the_closed_form(kernel, closed_form):
    np.testing.assert_allclose(kernel.correlation(DISTANCES), [closed_form(r) for r in DISTANCES], rtol=1e-13)


@pytest.mark.parametrize("p", [3, 7, 29, 30, 60])  # nu = 30.5 and above take another way than the Bessel function
def test_matern_of_half_integer_nu_is_a_polynomial_times_an_exponential(p):
    def exact(r):  # R&W eq. 4.16
        z = math.sqrt(2 * p + 1) * r
        terms = [math.comb(p, i) * math.factorial(p + i) * (2 * z) ** (p - i) for i in range(p + 1)]
        return math.exp(-z) * sum(term / math.factorial(2 * p) for term in terms)

    np.testing.assert_allclose(Matern(nu=p + 0.5).correlation(DISTANCES), [exact(r) for r in DISTANCES], rtol=1e-10)


@pytest.mark.parametrize("nu", [0.3, 0.8, 2.2, 12.3, 45.6])
def test_matern_of_any_nu_is_the_characteristic_function_of_students_t(nu):
    student = scipy.stats.t(2 * nu)
    for r in (0.2, 1.0, 2.5):
        expected, _ = quad(lambda q: 2 * float(student.pdf(q)), 0, math.inf, weight="cos", wvar=r, limlst=200)
        assert float(Matern(nu=nu).correlation(r)) == pytest.approx(expected, abs=1e-6)


def test_matern_tends_to_the_squared_exponential():
    gaussian = np.exp(-(DISTANCES**2) / 2)
    for nu in (100.0, 1e4, 1e6):
        np.testing.assert_allclose(Matern(nu=nu).correlation(DISTANCES), gaussian, atol=0.5 / nu)


def test_rational_quadratic_tends_to_the_squared_exponential():
    np.testing.assert_allclose(RationalQuadratic(alpha=1e6).correlation(DISTANCES), np.exp(-(DISTANCES**2) / 2), atol=1e-6)


def test_length_scale_is_in_pixels():
    along, across = np.ix_([0.0, 3.0], [0.0, 4.0])
    np.testing.assert_allclose(
        SquaredExponential().covariance([along, across], 5.0), np.exp([[0, -0.32], [-0.18, -0.5]]), rtol=1e-14
    )


# Spectral density


def transform(function, x, dim, upper):
    """∫ f(|y|) exp(-i x·y) d^dim y for a radial f that is nothing beyond `upper`."""
    weight = {
        1: lambda y: 2 * math.cos(x * y),
        2: lambda y: 2 * math.pi * y * j0(x * y),
        3: lambda y: 4 * math.pi * y * y * np.sinc(x * y / math.pi),
    }[dim]
    return quad(lambda y: float(function(y)) * float(weight(y)), 0, upper, limit=2000, epsabs=1e-10, epsrel=1e-10)[0]


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("kernel", [k for k in COVARIANCES if not isinstance(k, RationalQuadratic)], ids=str)
def test_spectral_density_is_the_transform_of_the_correlation(kernel, dim):
    for q in (0.0, 0.5, 1.7, 4.0):
        expected = transform(kernel.correlation, q, dim, upper=50)
        assert float(kernel.spectral_density(q, dim)) == pytest.approx(expected, rel=1e-6, abs=1e-7)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("alpha", [1.7, 2.0, 5.0, 40.0])
def test_rational_quadratic_correlation_is_the_inverse_transform_of_its_density(alpha, dim):
    kernel = RationalQuadratic(alpha=alpha)  # of slow tails, but its density falls exponentially
    for r in (0.0, 0.5, 1.7, 4.0):
        found = transform(lambda q: kernel.spectral_density(q, dim), r, dim, upper=40) / (2 * math.pi) ** dim
        assert found == pytest.approx((1 + r * r / (2 * alpha)) ** -alpha, abs=1e-8)


@pytest.mark.parametrize(("alpha", "dim", "finite"), [(0.5, 1, False), (0.6, 1, True), (1.0, 2, False), (1.5, 3, False)])
def test_rational_quadratic_has_finite_power_at_zero_only_for_alpha_above_half_the_dimension(alpha, dim, finite):
    at_zero, beside = RationalQuadratic(alpha=alpha).spectral_density([0.0, 1e-4], dim)
    assert np.isfinite(at_zero) == finite
    assert np.isfinite(beside)


def test_spectral_density_of_the_squared_exponential_is_gaussian():
    expected = [(2 * math.pi) ** 1.5, (2 * math.pi) ** 1.5 * math.exp(-2)]
    np.testing.assert_allclose(SquaredExponential().spectral_density([0.0, 2.0], 3), expected, rtol=1e-14)


@pytest.mark.parametrize("dim", [1, 2, 3])
@pytest.mark.parametrize("nu", [2e4, 1e7, 1e10])
def test_matern_density_of_large_nu_is_the_squared_exponentials_with_its_first_correction(nu, dim):
    q = np.linspace(0, 4, 9)
    ratio = Matern(nu=nu).spectral_density(q, dim) / ((2 * math.pi) ** (dim / 2) * np.exp(-(q**2) / 2))
    correction = (q**4 - 2 * dim * q**2 + dim * (dim - 2)) / (8 * nu)  # Stirling's series and that of the logarithm
    np.testing.assert_allclose(ratio, 1 + correction, atol=1e3 / nu**2 + 1e-13)


@pytest.mark.parametrize(
    "kernel", [Matern(nu=1e8), Matern(nu=1e10), RationalQuadratic(alpha=1e8), RationalQuadratic(alpha=1e10)]
)
def test_kernels_of_the_largest_shape_are_the_squared_exponential(kernel):
    r = np.linspace(0, 8, 50)
    shape = getattr(kernel, "nu", None) or kernel.alpha
    np.testing.assert_allclose(kernel.correlation(r), np.exp(-(r**2) / 2), atol=0.3 / shape + 1e-12)
    assert erfc(kernel.band_limit(1e-9) / math.sqrt(2)) == pytest.approx(1e-9, rel=1e-4)
    assert kernel.reach(1e-9) == pytest.approx(math.sqrt(2 * math.log(1e9)), rel=1e-6)


# Band limit and reach


@pytest.mark.parametrize("level", [1e-2, 1e-4, 1e-7])
@every_kernel
def test_reach_is_where_the_correlation_falls_to_the_level(kernel, level):
    assert float(kernel.correlation(kernel.reach(level))) == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize("level", [1e-2, 1e-4, 1e-7])
@every_kernel
def test_band_limit_leaves_the_share_of_variance_beyond_it(kernel, level):
    edge = kernel.band_limit(level)

    def per_log(t):
        q = edge * math.exp(t)
        return q * float(kernel.spectral_density(q, 1)) / math.pi

    decays_by = max(5, 10 / getattr(kernel, "nu", math.inf))  # a Matérn's share falls as q^(-2 nu)
    assert quad(per_log, 0, decays_by, limit=200)[0] == pytest.approx(level, rel=1e-6)


@pytest.mark.parametrize("level", [1e-2, 1e-5, 1e-9])
def test_band_limits_in_closed_form(level):
    assert Exponential().band_limit(level) == pytest.approx(1 / math.tan(math.pi * level / 2), rel=1e-9)  # S = 2 / (1 + q²)
    assert erfc(SquaredExponential().band_limit(level) / math.sqrt(2)) == pytest.approx(level, rel=1e-9)


# Anisotropy


def at(kernel, row, column, length_scale=3.0):
    return float(kernel.covariance([row, column], length_scale))


@pytest.mark.parametrize(
    ("angle", "along", "across"),
    [
        (0, (0, 1), (1, 0)),  # along the columns: right
        (90, (-1, 0), (0, 1)),  # along the rows: up, and row 0 is on top
        (30, (-0.5, math.sqrt(0.75)), (math.sqrt(0.75), 0.5)),  # right and up
        (-30, (0.5, math.sqrt(0.75)), (-math.sqrt(0.75), 0.5)),
        (210, (-0.5, math.sqrt(0.75)), (math.sqrt(0.75), 0.5)),
    ],
)
def test_aspect_stretches_along_the_angle(angle, along, across):
    kernel = SquaredExponential(aspect=2, angle=angle)
    one_length_scale = math.exp(-0.5)
    assert at(kernel, 6 * along[0], 6 * along[1]) == pytest.approx(one_length_scale, rel=1e-12)
    assert at(kernel, 3 * across[0], 3 * across[1]) == pytest.approx(one_length_scale, rel=1e-12)


def test_aspect_below_one_squeezes():
    kernel = Exponential(aspect=0.5, angle=0)
    assert at(kernel, 0, 1.5) == pytest.approx(math.exp(-1), rel=1e-12)
    assert at(kernel, 3, 0) == pytest.approx(math.exp(-1), rel=1e-12)


def test_stretch_in_three_dimensions_lies_in_the_plane_of_the_last_two_axes():
    kernel = SquaredExponential(aspect=2, angle=90)
    covariances = [float(kernel.covariance(lag, 1.0)) for lag in ([1, 0, 0], [0, 2, 0], [0, 0, 1])]
    assert covariances == pytest.approx([math.exp(-0.5)] * 3, rel=1e-12)


@pytest.mark.parametrize("angle", [0, 30, 90, 137])
def test_anisotropic_spectrum_is_the_transform_of_the_anisotropic_covariance(angle):
    kernel, length_scale = SquaredExponential(aspect=2, angle=angle), 1.5
    x = np.arange(-24, 24.5, 0.5)  # wide and fine enough for a sum to be the integral, to rounding
    covariance = kernel.covariance(np.ix_(x, x), length_scale)
    for k in ((0.0, 0.0), (0.7, 0.2), (-0.4, 0.9)):
        expected = 0.25 * (covariance * np.cos(k[0] * x[:, None] + k[1] * x)).sum()
        density = kernel.spectral_density(kernel.scaled_wavenumber(k, length_scale), 2) * 2 * length_scale**2
        assert float(density) == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("angle", [0, 30, 90, 137])
def test_extents_hold_the_ellipse_of_one_length_scale(angle):
    kernel, turn = SquaredExponential(aspect=2.5, angle=angle), np.linspace(0, 2 * math.pi, 100001)
    row, column = np.sin(turn), np.cos(turn)
    radius = 1 / kernel.scaled_distance([row, column], 4.0)  # r = 1 at this distance in pixels
    np.testing.assert_allclose(kernel.extents(4.0, 2), [(radius * row).max(), (radius * column).max()], rtol=1e-7)


@pytest.mark.parametrize("angle", [0, 30, 90, 137])
def test_axis_length_scales_are_those_of_a_row_and_a_column(angle):
    kernel = SquaredExponential(aspect=2.5, angle=angle)
    down, right = kernel.axis_length_scales(4.0, 2)
    assert at(kernel, down, 0, 4.0) == pytest.approx(math.exp(-0.5), rel=1e-12)
    assert at(kernel, 0, right, 4.0) == pytest.approx(math.exp(-0.5), rel=1e-12)


# Errors


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("matern", {"nu": -1.5}, "nu must be from"),
        ("matern", {"nu": 0}, "nu must be from"),
        ("matern", {"nu": math.inf}, "squared-exponential"),
        ("rational-quadratic", {"alpha": math.nan}, "alpha must be from"),
        ("rational-quadratic", {"alpha": -1}, "alpha must be from"),
        ("squared-exponential", {"aspect": 0}, "aspect must be from"),
        ("squared-exponential", {"aspect": math.nan}, "aspect must be from"),
        ("matern", {"nu": 1e100}, "for nu → ∞ use squared-exponential"),
        ("matern", {"nu": 5e-324}, "nu must be from"),
        ("rational-quadratic", {"alpha": 1e300}, "for alpha → ∞ use squared-exponential"),
        ("rational-quadratic", {"alpha": 1e-300}, "alpha must be from"),
        ("squared-exponential", {"aspect": 1e308}, "aspect must be from 0.0001 to 10000"),
        ("squared-exponential", {"aspect": 1e-308}, "aspect must be from 0.0001 to 10000"),
        ("squared-exponential", {"angle": math.inf}, "angle must be a finite"),
        ("exponential", {"nu": 1.5}, "use kernel matern"),
        ("matren", {}, "did you mean 'matern'"),
        ("gauss", {}, "squared-exponential, matern, exponential"),
        ("matern", {"nuu": 1.5}, "did you mean 'nu'"),
        ("rational-quadratic", {"alhpa": 1}, "did you mean 'alpha'"),
        ("squared-exponential", {"nu": 1.5}, "no parameter 'nu'"),
    ],
)
def test_wrong_parameters_are_refused_with_what_to_do(name, parameters, message):
    with pytest.raises(RecipeError, match=message):
        kernel_by_name(name, **parameters)


def test_aspect_is_refused_on_a_line():
    with pytest.raises(RecipeError, match="two or three dimensions"):
        SquaredExponential(aspect=2).direction(1)


def test_kernels_by_name_are_the_classes():
    assert kernel_by_name("matern", nu=2.5, aspect=2.0, angle=30.0) == Matern(aspect=2.0, angle=30.0, nu=2.5)
    assert [kernel.name for kernel in KERNELS.values()] == list(KERNELS)


# Power spectra


def test_power_spectrum_of_a_callable_is_the_callable():
    q = np.array([[0.0, 0.5], [1.0, 7.0]])
    np.testing.assert_array_equal(PowerSpectrum(power=lambda q: 1 / (1 + q**4)).spectral_density(q, 2), 1 / (1 + q**4))


def test_power_spectrum_of_a_table_goes_through_its_rows_and_is_zero_outside():
    kernel = PowerSpectrum(power=((0.5, 1.0), (1.0, 3.0), (2.0, 0.0)))
    np.testing.assert_allclose(kernel.spectral_density([0.0, 0.49, 0.5, 1.0, 2.0, 2.01], 1), [0, 0, 1, 3, 0, 0], atol=1e-15)
    between = kernel.spectral_density(np.linspace(0.5, 1.0, 50), 1)
    assert (np.diff(between) > 0).all()  # no overshoot
    assert between.max() == 3


def test_power_spectrum_of_a_table_is_nowhere_below_zero():
    kernel = PowerSpectrum(power=((0.0, 1.0), (1 - 1e-6, 0.3), (1.0, 1e6), (1 + 1e-6, 0.3), (3.0, 0.0)))
    assert (kernel.spectral_density(np.linspace(2.99, 3, 10_001), 1) >= 0).all()  # the cubic's own rounding is


def test_power_spectrum_of_a_straight_table_is_straight():
    kernel = PowerSpectrum(power=np.array([[0.0, 4.0], [1.0, 3.0], [2.5, 1.5], [4.0, 0.0]]))
    q = np.linspace(0, 4, 41)
    np.testing.assert_allclose(kernel.spectral_density(q, 2), 4 - q, atol=1e-13)


def test_tabulate_writes_a_callable_into_a_table():
    kernel = PowerSpectrum.tabulate(lambda q: np.exp(-q), np.linspace(0, 8, 200), aspect=2.0)
    assert kernel.aspect == 2
    assert kernel.power[0] == (0.0, 1.0)
    assert len(kernel.power) == 200
    q = np.linspace(0, 8, 777)
    np.testing.assert_allclose(kernel.spectral_density(q, 2), np.exp(-q), atol=1e-4)


@pytest.mark.parametrize(
    "table",
    [(), ((1.0, 2.0),), ((1.0, 2.0, 3.0), (2.0, 2.0, 3.0)), (1.0, 2.0)],
    ids=["empty", "one row", "three columns", "no rows"],
)
def test_power_spectrum_refuses_what_is_no_table(table):
    with pytest.raises(RecipeError, match="a callable or a table of at least two rows"):
        PowerSpectrum(power=table)


@pytest.mark.parametrize(
    "table",
    [
        ((1.0, 1.0), (0.5, 1.0)),
        ((1.0, 1.0), (1.0, 2.0)),
        ((0.0, 1.0), (1.0, -1.0)),
        ((-1.0, 1.0), (1.0, 1.0)),
        ((0.0, math.inf), (1.0, 1.0)),
        ((0.0, 1.0), (math.nan, 1.0)),
    ],
    ids=["unsorted", "equal", "negative power", "negative q", "infinite", "nan"],
)
def test_power_spectrum_refuses_a_table_without_sense(table):
    with pytest.raises(RecipeError, match="finite, with q increasing"):
        PowerSpectrum(power=table)


@pytest.mark.parametrize(
    ("power", "message"),
    [
        (lambda q: q**-2.0, "at q = 0 it is inf"),
        (lambda q: 1 - q, "at q = 2 it is -1"),
        (lambda q: np.full_like(q, np.nan), "it is nan"),
        (lambda q: q[:-1], r"returned shape \(2,\) for wave numbers of shape \(3,\)"),
        (lambda q: 1.0, r"returned shape \(\)"),
    ],
)
def test_power_spectrum_refuses_what_the_callable_must_not_return(power, message):
    with pytest.raises(RecipeError, match=message):
        PowerSpectrum(power=power).spectral_density([0.0, 1.0, 2.0], 1)


@pytest.mark.parametrize("dim", [1, 2, 3])
def test_rational_quadratic_density_tends_to_the_squared_exponentials(dim):
    q = np.linspace(0, 4, 41)
    np.testing.assert_allclose(
        RationalQuadratic(alpha=1e5).spectral_density(q, dim), SquaredExponential().spectral_density(q, dim), atol=1e-3
    )


def test_power_spectrum_refuses_a_ragged_table():
    with pytest.raises(RecipeError, match="a callable or a table of at least two rows"):
        PowerSpectrum(power=((0.0, 1.0), (1.0,)))
