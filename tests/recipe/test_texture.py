"""The texture: a pure function of (recipe, split, index), and the weighted sum of its fields.

Statistical tests have fixed seeds; each states how often a right implementation would fail it for a random seed.
"""

import copy
import hashlib
import itertools
import math
import pickle
import subprocess
import sys

import numpy as np
import pytest

from gptex import Recipe, Sampler
from gptex.fields import superpose
from gptex.fields.streams import normals

# -- the texture is a pure function


def sha256(texture):
    return hashlib.sha256(texture.image.tobytes()).hexdigest()


PRINT_TEXTURES = """
import hashlib, sys
from gptex import Recipe
recipe = Recipe.from_toml(sys.stdin.read())
for index in (5, 0, 3):
    print(index, hashlib.sha256(recipe.texture("train", index).image.tobytes()).hexdigest())
"""


def test_a_fresh_process_draws_the_same_textures_in_any_order(two_scales):
    recipe = two_scales(standardize=True, noise_std=0.1)
    here = {index: sha256(recipe.texture("train", index)) for index in range(6)}
    run = subprocess.run(
        [sys.executable, "-c", PRINT_TEXTURES], input=recipe.to_toml(), capture_output=True, text=True, check=True
    )
    assert {int(i): digest for i, digest in map(str.split, run.stdout.splitlines())} == {i: here[i] for i in (0, 3, 5)}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda recipe: pickle.loads(pickle.dumps(recipe))])
def test_a_copy_draws_the_same_textures(two_scales, duplicate):
    recipe = two_scales()
    first = recipe.texture("train", 3)
    other = duplicate(recipe)
    assert other == recipe
    np.testing.assert_array_equal(other.texture("train", 3).image, first.image)


def test_a_texture_does_not_depend_on_what_was_drawn_before(two_scales):
    recipe = two_scales(standardize=True, noise_std=0.1)
    forwards = [recipe.texture("train", index).image for index in range(4)]
    recipe.texture("other", 1)
    np.random.default_rng().normal(size=3)
    backwards = [recipe.texture("train", index).image for index in reversed(range(4))]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize("splits", [{"train": 500}, {"test": 3, "train": 5, "val": 1}, {"test": 3}, {}])
def test_counts_and_other_splits_change_no_texture(two_scales, splits):
    recipe = two_scales()
    changed = recipe.replace(splits=splits)
    assert changed.same_textures(recipe)
    np.testing.assert_array_equal(changed.texture("train", 3).image, recipe.texture("train", 3).image)


def test_another_name_is_another_recipe_but_not_other_pixels(two_scales):
    recipe = two_scales()
    renamed = recipe.replace(name="other")
    assert not renamed.same_textures(recipe)
    np.testing.assert_array_equal(renamed.texture("train", 0).image, recipe.texture("train", 0).image)


def test_a_component_keeps_its_field_when_another_one_is_added(component, two_scales):
    """Each component has a stream of its own. Sums of float32 round, hence the tolerance."""
    alone = two_scales(components=[component(length_scales=[2])])
    both = two_scales(components=[component(length_scales=[2]), component(name="coarse", length_scales=[8], weight=0)])
    np.testing.assert_allclose(both.texture("train", 3).image, alone.texture("train", 3).image, atol=1e-5)


def test_fields_of_different_seeds_splits_indices_and_components_are_uncorrelated(component):
    """For ℓ = 1 on 64² pixels the correlation of two independent fields has σ = √π/64 = 0.028; the bound is 6.5 σ.

    A true Gaussian pair exceeds it with probability 1e-10, so any of the 2016 pairs with 2e-7.
    """
    weights = [(1, 0), (0, 1)]
    fields = [
        Recipe(
            name="pair",
            shape=[64, 64],
            seed=seed,
            components=[component(name=str(n), length_scales=[1], weight=w) for n, w in enumerate(pair)],
        ).texture(split, index)
        for seed in (0, 1, 2**32, 2**127)
        for pair in weights
        for split in ("train", "test")
        for index in (0, 1, 2, 2**40)
    ]
    correlations = np.corrcoef([field.image.ravel() for field in fields]) - np.eye(len(fields))
    assert len(fields) == 64
    assert np.abs(correlations).max() < 6.5 * math.sqrt(math.pi) / 64


@pytest.mark.parametrize("index", [-1, 2**63])
def test_an_index_out_of_range_is_refused(two_scales, refusal, index):
    assert str(index) in refusal(lambda: two_scales().texture("train", index))


# -- what a texture is the sum of


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def stream(recipe, split, index, j):
    """Random bits of component `j` as the design page words it: SeedSequence(seed, (split key, index, component))."""
    key = int.from_bytes(hashlib.sha256(split.encode()).digest()[:8], "big") | 1 << 63
    return np.random.PCG64(np.random.SeedSequence(recipe.seed, spawn_key=(key, index, j)))


def by_hand(recipe, split, index, standardize):
    """The texture of a recipe without noise as the sum of its fields, in float64."""
    total = np.zeros(recipe.shape)
    for j, (part, scale) in enumerate(zip(recipe.components, recipe.length_scales(index % recipe.n_classes), strict=True)):
        sampler = Sampler(recipe.shape, part.kernel, scale, boundary=part.boundary, dtype="float64")
        field = superpose([sampler], [sampler.draw(stream(recipe, split, index, j))])
        if standardize:
            field = (field - field.mean()) / field.std()
        total += part.weight * field
    return total


@pytest.mark.parametrize(("dtype", "rounding"), [("float64", 1e-12), ("float32", 1e-5), ("float16", 4e-3)])
@pytest.mark.parametrize("standardize", [False, True])
@pytest.mark.parametrize("shape", [[64, 64], [45, 64], [200], [16, 15, 16]], ids=str)
def test_a_texture_is_the_weighted_sum_of_its_fields(shape, standardize, dtype, rounding):
    parts = [
        {"name": "fine", "kernel": "squared-exponential", "length_scales": [1.5, 2], "weight": 0.75, "boundary": "periodic"},
        {"name": "middle", "kernel": "matern", "length_scales": [3], "weight": -0.5, "boundary": "periodic"},
        {"name": "thin", "kernel": "squared-exponential", "length_scales": [8], "weight": 1.25, "boundary": "open"},
        {"name": "wide", "kernel": "exponential", "length_scales": [1], "weight": 0.5, "boundary": "open"},
    ]
    if len(shape) == 3:
        parts = parts[:3]
    recipe = Recipe(name="sum", shape=shape, seed=5, dtype=dtype, standardize=standardize, components=parts)
    for index in (0, 1):
        image = recipe.texture("train", index).image
        assert image.dtype == dtype
        assert image.shape == tuple(shape)
        np.testing.assert_allclose(image, by_hand(recipe, "train", index, standardize), atol=rounding * 4, rtol=0)


def test_a_standardized_texture_of_one_component_has_mean_0_and_the_weight_as_standard_deviation(component, two_scales):
    for boundary, scale in (("periodic", 3), ("open", 3), ("open", 40)):
        part = component(length_scales=[scale], weight=2.5, boundary=boundary)
        recipe = two_scales(components=[part], standardize=True, dtype="float64")
        image = recipe.texture("train", 0).image
        assert image.mean() == pytest.approx(0, abs=1e-9)
        assert image.std() == pytest.approx(2.5, rel=1e-9)


def test_variance_is_the_sum_of_squared_weights_and_the_noises_variance(component, two_scales):
    """The bound is 5 σ of the mean of x² over all pixels, σ² = 2 Σ_lag K² / pixels: false alarm 6e-7.

    A variance wrong by 3 % fails. Standardized textures do not vary in this way and so pass too easily: they are excluded.
    """
    fine, coarse, noise, textures = 0.75, 1.25, 0.5, 400
    parts = [
        component(length_scales=[1.5], weight=fine),
        component(name="coarse", length_scales=[4], weight=coarse, boundary="open"),
    ]
    recipe = two_scales(components=parts, noise_std=noise, seed=11)
    mean_square = np.mean([np.square(recipe.texture("train", index).image).mean() for index in range(textures)])
    lags = np.arange(-32, 32)
    square_distance = lags[:, None] ** 2 + lags**2
    covariance = fine**2 * np.exp(-square_distance / (2 * 1.5**2)) + coarse**2 * np.exp(-square_distance / (2 * 4**2))
    covariance[32, 32] += noise**2
    sigma = math.sqrt(2 * np.square(covariance).sum() / (textures * 64 * 64))
    assert 5 * sigma < 0.03 * covariance[32, 32]
    assert abs(mean_square - (fine**2 + coarse**2 + noise**2)) < 5 * sigma


def test_unstandardized_textures_have_means_that_vary(component, two_scales):
    """The mean over a periodic grid has variance Σ_lag k / pixels = 2πℓ²/64² = 0.098; a χ² with 200 degrees of freedom.

    The bounds are 5 σ: false alarm 6e-7.
    """
    recipe = two_scales(components=[component(length_scales=[8])])
    variance = np.mean([recipe.texture("train", index).image.mean() ** 2 for index in range(200)])
    assert abs(variance / (2 * math.pi * 64 / 4096) - 1) < 5 * math.sqrt(2 / 200)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_noise_is_white_and_has_its_standard_deviation(one_field, dtype):
    """20 × 64² noise values: variance and correlations at lags are within 5 σ, σ = √(2/N) and 1/√N: false alarm 6e-7 each."""
    quiet, noisy = one_field(dtype=dtype), one_field(dtype=dtype, noise_std=0.5)
    noise = np.array(
        [noisy.texture("train", n).image.astype(float) - quiet.texture("train", n).image.astype(float) for n in range(20)]
    )
    count = noise.size
    assert abs(noise.var() / 0.25 - 1) < 5 * math.sqrt(2 / count) + (1e-4 if dtype == "float16" else 0)
    assert abs(noise.mean()) < 5 * 0.5 / math.sqrt(count)
    for shift in itertools.product((0, 1), (0, 1), (0, 1)):
        lagged = (noise * np.roll(noise, shift, axis=(0, 1, 2))).mean() / 0.25
        assert abs(lagged - (shift == (0, 0, 0))) < 5 * math.sqrt((2 if shift == (0, 0, 0) else 1) / count) + 1e-3


def test_noise_is_independent_of_the_field_and_of_the_normals_that_made_it(one_field):
    """σ of each correlation is 1/64; the bound is 6 σ, false alarm 2e-9."""
    recipe = one_field(noise_std=1)
    field = recipe.replace(noise_std=0).texture("train", 0).image
    noise = recipe.texture("train", 0).image - field
    assert abs(correlation(noise, field)) < 6 / 64
    assert abs(correlation(noise, normals(stream(recipe, "train", 0, 0), recipe.shape, "float32"))) < 6 / 64


def test_float32_float64_and_float16_textures_agree_to_rounding(two_scales):
    images = {dtype: two_scales(dtype=dtype).texture("train", 1).image for dtype in ("float64", "float32", "float16")}
    assert {dtype: image.dtype.name for dtype, image in images.items()} == {dtype: dtype for dtype in images}
    np.testing.assert_allclose(images["float32"], images["float64"], atol=2e-5)
    np.testing.assert_array_equal(images["float16"], images["float32"].astype(np.float16))
