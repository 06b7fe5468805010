"""How often right datasets fail and wrong ones do not: that a certificate says no more than is true."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

DATASETS = 125  # of each recipe
FALSE_ALARM = 0.05  # so that there are some to count
LEVEL = 1e-4  # at which the tests of this module may fail by chance; the seeds are fixed


def least(certificate):
    return min(test.p for test in certificate.tests) * len(certificate.tests)


CASES = ["periodic", "open", "standardized", "noise"]


@pytest.fixture
def case(component, recipe):
    """Function from the name of a case to its recipe: tiny grids and few textures."""
    return {
        "periodic": lambda: recipe([16, 16], component(1.2, 1.5), train=3),
        "open": lambda: recipe([20, 16], component(2, nu=1.5, kernel="matern", boundary="open"), train=2),
        "standardized": lambda: recipe(
            [16, 18], component(1.5), component(5, name="b", boundary="open", weight=1.25), train=2, standardize=True
        ),
        "noise": lambda: recipe([64], component(2, 3), noise_std=0.5, train=4),
    }


@pytest.mark.slow
def test_of_five_hundred_right_datasets_as_many_fail_as_stated(case, examine):
    """Not more, and not so few that the statement would be empty: Bonferroni's bound is nearly reached."""
    found = []
    for name in CASES:
        right = case[name]()
        values = np.array([least(examine(right.replace(seed=seed))) for seed in range(DATASETS)])
        assert (values < FALSE_ALARM).sum() <= scipy.stats.binom(DATASETS, FALSE_ALARM).isf(LEVEL), name
        assert values.min() > LEVEL / DATASETS, name
        found.append(values)
    values = np.concatenate(found)
    assert len(values) == 500
    assert (values < FALSE_ALARM).sum() <= scipy.stats.binom(500, FALSE_ALARM).isf(LEVEL)
    assert (values < FALSE_ALARM).sum() >= scipy.stats.binom(500, FALSE_ALARM / 3).isf(1 - LEVEL)
    assert (values < 1e-3).sum() <= scipy.stats.binom(500, 1e-3).isf(LEVEL)


@pytest.mark.slow
@pytest.mark.parametrize("sign", [-1, 1])
@pytest.mark.parametrize("boundary", ["periodic", "open"])
def test_length_scales_wrong_by_the_stated_smallest_deviation_fail(component, recipe, examine, boundary, sign):
    """99 of 100 are said to be found by one test alone; that 95 of 100 are must not be unlikely."""
    right = recipe([32, 32], component(2.0, boundary=boundary), train=12)
    ((label, _, _, smallest),) = examine(right).classes[0].length_scales
    wrong = recipe([32, 32], component(label + sign * smallest, boundary=boundary), train=12)
    missed = sum(examine(right, wrong.replace(seed=seed)).passed for seed in range(1, 101))
    assert missed <= scipy.stats.binom(100, 0.05).isf(0.05)


@pytest.mark.slow
def test_a_third_of_the_stated_deviation_is_rarely_found(component, recipe, examine):
    """So that the statement is no idle one: what is found is near what is said."""
    right = recipe([32, 32], component(2.0), train=12)
    ((label, _, _, smallest),) = examine(right).classes[0].length_scales
    wrong = recipe([32, 32], component(label + smallest / 3), train=12)
    assert sum(examine(right, wrong.replace(seed=seed)).passed for seed in range(1, 41)) >= 30
