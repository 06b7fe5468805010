"""What may be asked of a spectrum, and what the refusal of anything else advises."""

from __future__ import annotations

import math

import pytest

from gptex.errors import RecipeError
from gptex.fields import (
    Exponential,
    Matern,
    RationalQuadratic,
    SquaredExponential,
    spectrum,
)


def ids(value):
    return str(value).replace("aspect=1.0, angle=0.0", "")


@pytest.mark.parametrize("length_scale", [0.0, -3.0, 1e300, math.nan, math.inf])
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_length_scale_must_be_in_range(boundary, length_scale):
    with pytest.raises(RecipeError, match="length scale must be positive and at most"):
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
def test_length_scale_far_below_a_pixel_is_refused_with_the_smallest_that_works(advised, kernel, length_scale, boundary):
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
def test_length_scale_too_large_for_a_torus_is_refused_with_the_largest_that_works(advised, shape, kernel):
    with pytest.raises(RecipeError, match="feel its own images") as error:
        spectrum(shape, kernel, 300.0, "periodic", 1e-8)
    largest = advised(error, "at most")
    spectrum(shape, kernel, largest, "periodic", 1e-8)
    with pytest.raises(RecipeError, match="feel its own images"):
        spectrum(shape, kernel, 1.02 * largest, "periodic", 1e-8)


@pytest.mark.parametrize("shape", [(64,), (64, 40), (12, 16, 10)])
def test_length_scale_far_larger_than_the_window_is_refused_with_the_largest_that_works(advised, shape):
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


def test_what_is_no_kernel_is_refused():
    with pytest.raises(RecipeError, match="a kernel must be"):
        spectrum((8, 8), None, 2.0, "periodic", 1e-8)


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("length_scale", [1e-300, 0.3, 3.0, 1e12])
@pytest.mark.parametrize("shape", [(1,), (1, 1, 1), (20, 24)])
@pytest.mark.parametrize(
    "kernel",
    [
        Matern(nu=1e-3),
        Matern(nu=1e10),
        RationalQuadratic(alpha=1e-3),
        RationalQuadratic(alpha=1e10),
        SquaredExponential(aspect=1e4, angle=1e300),
        SquaredExponential(aspect=1e-4),
        Exponential(aspect=1e4, angle=30),
    ],
    ids=ids,
)
def test_extremes_are_refused_in_words_or_have_a_variance_of_one(covariance_of, kernel, shape, length_scale, boundary):
    try:
        found = spectrum(shape, kernel, length_scale, boundary, 1e-3)
    except RecipeError:
        return
    images = 0.11 if boundary == "periodic" else 0
    origin = tuple(n - 1 for n in shape)
    assert 1 - 1e-3 <= covariance_of(found, shape)[origin] <= 1 + images + 1e-3
