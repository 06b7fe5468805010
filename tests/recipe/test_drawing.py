"""The samplers of a recipe: textures are the same whatever is kept of them, in bounded memory and without needless set-ups."""

import gc
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gptex import Component, Recipe, Sampler
from gptex.recipe import drawing, scale_name


def matern(*scales, shape=(64, 64), **changes):
    """A recipe of one Matérn component for each list of scales: all modes alive."""
    components = [Component(name=str(n), kernel="matern", length_scales=each, **changes) for n, each in enumerate(scales)]
    return Recipe(name="matern", shape=shape, components=components)


@pytest.fixture
def keep(monkeypatch):
    """Bounds what is kept to so many textures' worth, however small they are."""

    def bound(textures):
        monkeypatch.setattr(drawing, "KEPT", textures)
        monkeypatch.setattr(drawing, "KEPT_BYTES", 0)

    return bound


@pytest.fixture
def set_up(monkeypatch):
    """Length scales of the samplers set up so far."""
    made = []

    class Counted(Sampler):
        def __init__(self, shape, kernel, length_scale, **options):
            made.append(length_scale)
            super().__init__(shape, kernel, length_scale, **options)

    monkeypatch.setattr(drawing, "Sampler", Counted)
    return made


@pytest.mark.parametrize("boundary", ["periodic", "open"])
@pytest.mark.parametrize("kernel", ["matern", "squared-exponential"])
def test_textures_are_bit_equal_whether_their_samplers_were_kept_or_not(keep, kernel, boundary):
    parts = [Component(name=n, kernel=kernel, length_scales=s, boundary=boundary) for n, s in [("a", [2, 3]), ("b", [7, 9])]]
    recipe = Recipe(name="both", shape=[48, 64], components=parts, standardize=True, noise_std=0.1)
    order = [0, 1, 2, 3, 5, 5, 4, 0]
    kept = [recipe.texture("train", index).image for index in order]
    keep(0)
    made_again = recipe.replace(name="none kept")
    np.testing.assert_array_equal([made_again.texture("train", index).image for index in order], kept)


def test_samplers_that_fit_are_set_up_once_and_only_when_needed(set_up):
    recipe = matern([2, 3, 4], [5, 6])
    recipe.texture("train", 1)
    assert set_up == [3, 5]
    for index in range(18):
        recipe.texture("train", index)
    recipe.losses()
    assert sorted(set_up) == [2, 3, 4, 5, 6]


def test_of_samplers_that_do_not_fit_a_cycle_through_the_classes_finds_as_many_as_do(keep, set_up):
    """At most half a texture each, two fit. Were the least recently used one dropped, all eight would be made again."""
    keep(1.1)
    recipe = matern(range(2, 10))
    for index in range(8):
        recipe.texture("train", index)
    for cycle in range(1, 4):
        set_up.clear()
        for index in range(8):
            recipe.texture("train", 8 * cycle + index)
        assert 0 < len(set_up) <= 6


def test_the_component_that_changes_slowly_and_a_class_drawn_again_need_no_new_set_up(keep, set_up):
    keep(0)
    recipe = matern([2, 3, 4, 5], [6, 7])
    for index in range(8):
        recipe.texture("train", index)
    assert sorted(set_up) == [2, 2, 3, 3, 4, 4, 5, 5, 6, 7]
    for index in (15, 23, 31):
        recipe.texture("train", index)
    assert len(set_up) == 10


@pytest.mark.parametrize(
    "changes", [{}, {"boundary": "open"}, {"kernel": "squared-exponential", "boundary": "open"}], ids=["all", "open", "thin"]
)
def test_memory_is_bounded_whatever_the_number_of_length_scales(keep, changes):
    """As measured by tracemalloc: what is kept, and the last sampler, which an open one's torus makes larger."""
    keep(1)
    scales = np.linspace(20, 30, 24).tolist()
    recipe = Recipe(
        name="many",
        shape=[256, 256],
        components=[Component(**{"name": "a", "kernel": "matern", "length_scales": scales, **changes})],
    )
    recipe.replace(shape=[200, 200]).texture("train", 0)  # what is set up once for all
    one = Sampler((256, 256), changes.get("kernel", "matern"), 30.0, boundary=changes.get("boundary", "periodic"))
    largest = 4 * max(np.prod([min(2 * m + 1, n) for m, n in zip(one.modes.cutoff, one.modes.torus, strict=True)]), 1)
    gc.collect()
    tracemalloc.start()
    for index in range(24):
        recipe.texture("train", index)
    recipe.losses()
    gc.collect()
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert held < 1.1 * recipe.texture_bytes + largest


def test_threads_may_share_a_recipe(keep):
    recipe = matern([2, 3, 4, 5], [6, 7])
    alone = [recipe.texture("train", index).image for index in range(8)]
    keep(1)
    shared = recipe.replace(name="shared")
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(lambda index: shared.texture("train", index % 8).image, range(64)))
    for index, image in enumerate(together):
        np.testing.assert_array_equal(image, alone[index % 8])


def test_losses_are_those_of_the_samplers_and_kept_where_the_samplers_are_not(keep, set_up):
    keep(0)
    recipe = matern([2, 3, 4])
    expected = {scale_name(scale): Sampler((64, 64), "matern", scale).loss for scale in (2.0, 3.0, 4.0)}
    assert recipe.losses() == recipe.losses() == {"0": expected}
    assert sorted(set_up) == [2, 3, 4]
