"""Recipes that the tests share."""

import pytest

from gptex import Component, Recipe, RecipeError


def make_component(**changes):
    return Component(**{"name": "fine", "length_scales": [2, 3], **changes})


def make_two_scales(**changes):
    """Two classes of length scale 2 and 3 under a coarse field of length scale 8."""
    components = [make_component(), make_component(name="coarse", length_scales=[8], weight=2)]
    return Recipe(**{"name": "two scales", "shape": [64, 64], "components": components, "splits": {"train": 5}, **changes})


def make_one_field(**changes):
    """A recipe of one class."""
    return make_two_scales(components=[make_component(length_scales=[1])], **changes)


def make_everything():
    """A recipe that uses every key, with awkward names and numbers."""
    kernels = [
        {"kernel": "squared-exponential", "length_scales": [9.5, 10], "boundary": "open"},
        {"kernel": "matern", "nu": 0.7, "length_scales": [1e-3, 1 / 3, 1e22]},
        {"kernel": "exponential", "length_scales": [4], "weight": -0.75},
        {"kernel": "rational-quadratic", "alpha": 2.5, "length_scales": [4], "aspect": 2.0, "angle": -30},
        {"kernel": "spectrum", "spectrum": [[0, 0], [0.1, 2.5], [3, 0.5]], "length_scales": [1], "tolerance": 1e-3},
    ]
    names = ["plain", 'a "quoted" \\ one', "größe ℓ 長さ", "it's = 1 # no comment", "[components] # = '"]
    return Recipe(
        name='name with "quotes", \\ and ℓ',
        shape=[64, 48, 3],
        seed=2**128 - 1,
        dtype="float16",
        standardize=True,
        noise_std=0.1,
        components=[Component(name=name, **kernel) for name, kernel in zip(names, kernels, strict=True)],
        splits={"train": 25, "größe_1": 1, "1-val": 2**40 - 1},
    )


def line_of_refusal(make):
    """The one line of the RecipeError that `make` raises."""
    with pytest.raises(RecipeError) as error:
        make()
    line = str(error.value)
    assert line.strip()
    assert len(line.splitlines()) == 1
    return line


@pytest.fixture
def component():
    return make_component


@pytest.fixture
def two_scales():
    return make_two_scales


@pytest.fixture
def one_field():
    return make_one_field


@pytest.fixture
def everything():
    return make_everything


@pytest.fixture
def refusal():
    return line_of_refusal
