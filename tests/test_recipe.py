"""The recipe: what can be written down, what is refused, and the texture as a pure function of (recipe, split, index).

Statistical tests have fixed seeds; each states how often a right implementation would fail it for a random seed.
"""

import copy
import hashlib
import itertools
import json
import math
import pickle
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import gptex
from gptex import Component, Recipe, RecipeError, Sampler
from gptex.fields import PowerSpectrum, superpose
from gptex.fields.streams import normals
from gptex.recipe import scale_name

# -- helpers


def component(**changes):
    return Component(**{"name": "fine", "length_scales": [2, 3], **changes})


def two_scales(**changes):
    """Two classes of length scale 2 and 3 under a coarse field of length scale 8."""
    components = [component(), component(name="coarse", length_scales=[8], weight=2)]
    return Recipe(**{"name": "two scales", "shape": [64, 64], "components": components, "splits": {"train": 5}, **changes})


def one_field(**changes):
    """A recipe of one class."""
    return two_scales(components=[component(length_scales=[1])], **changes)


def everything():
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


def correlation(a, b):
    return np.corrcoef(a.ravel(), b.ravel())[0, 1]


def sha256(texture):
    return hashlib.sha256(texture.image.tobytes()).hexdigest()


def refusal(make):
    """The one line of the RecipeError that `make` raises."""
    with pytest.raises(RecipeError) as error:
        make()
    line = str(error.value)
    assert line.strip()
    assert len(line.splitlines()) == 1
    return line


# -- files


def test_toml_reads_back_to_an_equal_recipe():
    recipe = everything()
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_json_reads_back_to_an_equal_recipe_but_for_the_splits():
    recipe = everything()
    assert Recipe.from_json(recipe.to_json()) == recipe.replace(splits={})


def test_toml_is_what_any_toml_reader_reads():
    data = tomllib.loads(everything().to_toml())
    assert data["name"] == 'name with "quotes", \\ and ℓ'
    assert data["shape"] == [64, 48, 3]
    assert data["seed"] == 2**128 - 1
    assert data["splits"] == {"train": 25, "größe_1": 1, "1-val": 2**40 - 1}
    assert [c["name"] for c in data["components"]][3] == "it's = 1 # no comment"
    assert data["components"][1]["length_scales"] == [1e-3, 1 / 3, 1e22]
    assert data["components"][4]["spectrum"] == [[0, 0], [0.1, 2.5], [3, 0.5]]


@pytest.mark.parametrize("character", [chr(code) for code in [*range(1, 32), 127, 0x85, 0x2028, 0x1F600]], ids=ascii)
def test_any_character_in_a_components_name_is_written_so_that_it_reads_back_or_is_refused(character):
    try:
        recipe = two_scales(components=[component(name=f"a{character}b")])
    except RecipeError:
        return
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe.replace(splits={})


def test_json_does_not_depend_on_the_splits_nor_on_the_order_of_keys():
    data = json.loads(two_scales().to_json())
    assert "splits" not in data
    shuffled = Recipe.from_json(json.dumps(dict(reversed(data.items()))))
    assert shuffled.to_json() == two_scales().to_json() == two_scales(splits={"test": 7}).to_json()


def test_a_recipe_is_read_from_its_file_in_utf_8(tmp_path):
    path = tmp_path / "a recipe ℓ.toml"
    path.write_text(everything().to_toml(), encoding="utf-8")
    assert Recipe.read(path) == Recipe.read(str(path)) == everything()


def test_what_the_design_page_shows_is_a_recipe_and_its_defaults_are_the_stated_ones():
    recipe = Recipe.from_toml("""
        name = "golkar-cranmer-2018"
        shape = [1024, 1024]
        [[components]]
        name = "fine"
        length_scales = [9.5, 10]
        [splits]
        train = 25
    """)
    assert (recipe.seed, recipe.dtype, recipe.standardize, recipe.noise_std) == (0, "float32", False, 0)
    fine = recipe.components[0]
    assert (fine.kernel, fine.weight, fine.boundary, fine.aspect) == ("squared-exponential", 1, "periodic", 1)
    assert recipe.count("train") == 50


# -- classes and labels


@pytest.mark.parametrize("scale", [9.5, 10.0, 1 / 3, 1e-3, 123456789012.0, 1e22])
def test_a_scales_name_has_twelve_digits_and_none_that_say_nothing(scale):
    assert float(scale_name(scale)) == pytest.approx(scale, rel=1e-11)
    assert two_scales(components=[component(length_scales=[scale])]).classes == (scale_name(scale),)
    assert not re.search(r"\.\d*0$", scale_name(scale))


def test_the_papers_table_of_labels():
    recipe = gptex.preset("golkar-cranmer-2018")
    assert dict(enumerate(recipe.classes)) == {0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"}
    assert recipe.shape == (1024, 1024)
    assert [c.weight for c in recipe.components] == [0.75, 1.25]
    assert recipe.standardize
    assert recipe.count("train") == 100


def test_the_eight_classes_of_three_scales_have_the_first_component_fastest():
    recipe = gptex.preset("golkar-cranmer-2018-three-scales")
    by_hand = [f"{fine}-{middle}-{coarse}" for coarse in ("140", "200") for middle in ("60", "80") for fine in ("9.5", "10")]
    assert list(recipe.classes) == by_hand
    assert [c.weight for c in recipe.components] == [0.5, 1, 2]


def test_components_may_have_different_numbers_of_length_scales():
    scales = [[1, 2, 3], [4], [5, 6]]
    recipe = two_scales(components=[component(name=str(n), length_scales=s) for n, s in enumerate(scales)])
    assert recipe.n_classes == 6
    for label, (coarse, middle, fine) in enumerate(itertools.product(*reversed(scales))):
        assert recipe.length_scales(label) == (fine, middle, coarse)
        assert recipe.classes[label] == f"{fine}-{middle}-{coarse}"


def test_different_length_scales_have_different_names():
    close = [1.0, 1.0 + 1e-13]
    try:
        recipe = two_scales(components=[component(length_scales=close)])
    except RecipeError:
        return
    assert len(set(recipe.classes)) == 2
    assert len(recipe.losses()["fine"]) == 2


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_out_of_range_is_refused(label):
    assert "0 to 1" in refusal(lambda: two_scales().length_scales(label))


def test_texture_i_has_class_i_modulo_the_number_of_classes():
    recipe = two_scales(components=[component(length_scales=[2, 3, 4])])
    for index in (0, 1, 2, 3, 4, 3 * 10**12 + 2):
        texture = recipe.texture("train", index)
        assert texture.label == index % 3
        assert texture.length_scales == ((2.0, 3.0, 4.0)[index % 3],)


def test_a_texture_has_the_length_scale_of_its_label():
    """Mean square gradient over variance is 2/ℓ² for a squared exponential in two dimensions.

    Over ten textures of 64² it scatters by some 5 %, and the classes differ by a factor of 4.
    """
    recipe = two_scales(components=[component(length_scales=[3, 6])])
    for label, scale in enumerate([3, 6]):
        images = [recipe.texture("train", label + 2 * n).image for n in range(10)]
        gradients = np.mean([np.square(np.gradient(image)).sum(axis=0).mean() for image in images])
        assert math.sqrt(2 * np.var(images) / gradients) == pytest.approx(scale, rel=0.2)


# -- the texture is a pure function

PRINT_TEXTURES = """
import hashlib, sys
from gptex import Recipe
recipe = Recipe.from_toml(sys.stdin.read())
for index in (5, 0, 3):
    print(index, hashlib.sha256(recipe.texture("train", index).image.tobytes()).hexdigest())
"""


def test_a_fresh_process_draws_the_same_textures_in_any_order():
    recipe = two_scales(standardize=True, noise_std=0.1)
    here = {index: sha256(recipe.texture("train", index)) for index in range(6)}
    run = subprocess.run(
        [sys.executable, "-c", PRINT_TEXTURES], input=recipe.to_toml(), capture_output=True, text=True, check=True
    )
    assert {int(i): digest for i, digest in map(str.split, run.stdout.splitlines())} == {i: here[i] for i in (0, 3, 5)}


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda recipe: pickle.loads(pickle.dumps(recipe))])
def test_a_copy_draws_the_same_textures(duplicate):
    recipe = two_scales()
    first = recipe.texture("train", 3)
    other = duplicate(recipe)
    assert other == recipe
    np.testing.assert_array_equal(other.texture("train", 3).image, first.image)


def test_a_texture_does_not_depend_on_what_was_drawn_before():
    recipe = two_scales(standardize=True, noise_std=0.1)
    forwards = [recipe.texture("train", index).image for index in range(4)]
    recipe.texture("other", 1)
    np.random.default_rng().normal(size=3)
    backwards = [recipe.texture("train", index).image for index in reversed(range(4))]
    np.testing.assert_array_equal(forwards, backwards[::-1])


@pytest.mark.parametrize("splits", [{"train": 500}, {"test": 3, "train": 5, "val": 1}, {"test": 3}, {}])
def test_counts_and_other_splits_change_no_texture(splits):
    recipe = two_scales()
    changed = recipe.replace(splits=splits)
    assert changed.same_textures(recipe)
    np.testing.assert_array_equal(changed.texture("train", 3).image, recipe.texture("train", 3).image)


def test_another_name_is_another_recipe_but_not_other_pixels():
    recipe = two_scales()
    renamed = recipe.replace(name="other")
    assert not renamed.same_textures(recipe)
    np.testing.assert_array_equal(renamed.texture("train", 0).image, recipe.texture("train", 0).image)


def test_a_component_keeps_its_field_when_another_one_is_added():
    """Each component has a stream of its own. Sums of float32 round, hence the tolerance."""
    alone = two_scales(components=[component(length_scales=[2])])
    both = two_scales(components=[component(length_scales=[2]), component(name="coarse", length_scales=[8], weight=0)])
    np.testing.assert_allclose(both.texture("train", 3).image, alone.texture("train", 3).image, atol=1e-5)


def test_fields_of_different_seeds_splits_indices_and_components_are_uncorrelated():
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
def test_an_index_out_of_range_is_refused(index):
    assert str(index) in refusal(lambda: two_scales().texture("train", index))


# -- what a texture is the sum of


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


def test_a_standardized_texture_of_one_component_has_mean_0_and_the_weight_as_standard_deviation():
    for boundary, scale in (("periodic", 3), ("open", 3), ("open", 40)):
        part = component(length_scales=[scale], weight=2.5, boundary=boundary)
        recipe = two_scales(components=[part], standardize=True, dtype="float64")
        image = recipe.texture("train", 0).image
        assert image.mean() == pytest.approx(0, abs=1e-9)
        assert image.std() == pytest.approx(2.5, rel=1e-9)


def test_variance_is_the_sum_of_squared_weights_and_the_noises_variance():
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


def test_unstandardized_textures_have_means_that_vary():
    """The mean over a periodic grid has variance Σ_lag k / pixels = 2πℓ²/64² = 0.098; a χ² with 200 degrees of freedom.

    The bounds are 5 σ: false alarm 6e-7.
    """
    recipe = two_scales(components=[component(length_scales=[8])])
    variance = np.mean([recipe.texture("train", index).image.mean() ** 2 for index in range(200)])
    assert abs(variance / (2 * math.pi * 64 / 4096) - 1) < 5 * math.sqrt(2 / 200)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
def test_noise_is_white_and_has_its_standard_deviation(dtype):
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


def test_noise_is_independent_of_the_field_and_of_the_normals_that_made_it():
    """σ of each correlation is 1/64; the bound is 6 σ, false alarm 2e-9."""
    recipe = one_field(noise_std=1)
    field = recipe.replace(noise_std=0).texture("train", 0).image
    noise = recipe.texture("train", 0).image - field
    assert abs(correlation(noise, field)) < 6 / 64
    assert abs(correlation(noise, normals(stream(recipe, "train", 0, 0), recipe.shape, "float32"))) < 6 / 64


def test_float32_float64_and_float16_textures_agree_to_rounding():
    images = {dtype: two_scales(dtype=dtype).texture("train", 1).image for dtype in ("float64", "float32", "float16")}
    assert {dtype: image.dtype.name for dtype, image in images.items()} == {dtype: dtype for dtype in images}
    np.testing.assert_allclose(images["float32"], images["float64"], atol=2e-5)
    np.testing.assert_array_equal(images["float16"], images["float32"].astype(np.float16))


# -- changes, copies, pickles


def test_replace_checks_anew():
    recipe = two_scales()
    assert "seed" in refusal(lambda: recipe.replace(seed=-1))
    assert "did you mean 'dtype'?" in refusal(lambda: recipe.replace(dtyp="float64"))
    assert "seed" in refusal(lambda: recipe.model_copy(update={"seed": -1}))
    assert "did you mean 'weight'?" in refusal(lambda: recipe.components[0].replace(weigth=2))


@pytest.mark.parametrize("change", [Recipe.replace, lambda recipe, **changes: recipe.model_copy(update=changes)])
def test_a_changed_recipe_draws_its_own_textures_also_after_the_first_has_drawn(change):
    recipe = two_scales()
    recipe.texture("train", 0)
    other = change(recipe, shape=[32, 48], components=[component(length_scales=[5])])
    fresh = Recipe(name="two scales", shape=[32, 48], components=[component(length_scales=[5])])
    np.testing.assert_array_equal(other.texture("train", 0).image, fresh.texture("train", 0).image)


def test_a_changed_component_has_its_own_kernel():
    part = component(kernel="matern", nu=1.5)
    assert part.replace(nu=2.5).kernel_object.nu == 2.5
    assert part.model_copy(update={"nu": 2.5}).kernel_object.nu == 2.5


def test_a_recipe_cannot_be_changed_in_place():
    recipe = two_scales()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3
    assert recipe.seed == 0


def test_a_pickled_recipe_stays_small_after_drawing():
    recipe = two_scales(shape=[256, 256])
    recipe.texture("train", 0)
    recipe.losses()
    assert len(pickle.dumps(recipe)) < 5000


# -- a spectrum as a callable


def bump(q):
    return np.exp(-((q - 1) ** 2))


def test_a_spectrum_given_as_a_callable_draws_but_cannot_be_written():
    recipe = two_scales(components=[component(kernel="spectrum", length_scales=[2], spectrum=bump)])
    assert np.isfinite(recipe.texture("train", 0).image).all()
    for write in (recipe.to_toml, recipe.to_json):
        assert "tabulate" in refusal(write)


def test_a_table_of_a_callable_gives_nearly_the_same_texture():
    q = np.linspace(0, 8, 200)
    table = list(zip(q.tolist(), bump(q).tolist(), strict=True))
    drawn = [
        two_scales(components=[component(kernel="spectrum", length_scales=[2], spectrum=s)]).texture("train", 0).image
        for s in (bump, table)
    ]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=0.01)


# -- bad input


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("dtyp", "float32", "did you mean 'dtype'?"),
        ("noise", 0.1, "did you mean 'noise_std'?"),
        ("self", 1, "there is no such key"),
        ("name", "", "at least 1 character"),
        ("name", "two\nlines", "printable"),
        ("shape", [], "one to three axes"),
        ("shape", [64, 0], "at least one pixel"),
        ("shape", [64, -64], "at least one pixel"),
        ("shape", [4, 4, 4, 4], "one to three axes"),
        ("shape", [2**20, 2**20], "2**31"),
        ("shape", [64.5, 64], "integer"),
        ("shape", 64, "a list"),
        ("seed", -1, "2**128"),
        ("seed", 2**128, "2**128"),
        ("seed", 1.5, "integer"),
        ("seed", "one", "integer"),
        ("dtype", "int8", "'float32', 'float16' or 'float64'"),
        ("standardize", "perhaps", "boolean"),
        ("noise_std", -0.1, "greater than or equal to 0"),
        ("noise_std", math.nan, "finite"),
        ("noise_std", math.inf, "finite"),
        ("components", [], "at least 1 item"),
        ("components", "fine", "a list"),
        ("components", [3], "Component"),
        ("splits", {"train": 0}, "train"),
        ("splits", {"train": -5}, "train"),
        ("splits", {"train": 2**40}, "train"),
        ("splits", {"train": 2.5}, "train"),
        ("splits", {"../train": 1}, "letters, digits"),
        ("splits", {"": 1}, "letters, digits"),
        ("splits", {".train": 1}, "letters, digits"),
        ("splits", {"a b": 1}, "letters, digits"),
        ("splits", {"a" * 65: 1}, "64"),
        ("splits", {"Train": 1, "train": 1}, "twice"),
        ("components", [{"name": "a", "length_scales": [2], "weight": 1e39}], "weight"),
    ],
)
def test_a_bad_value_of_a_recipe_is_named_with_its_key(key, value, says):
    data = {"name": "bad", "shape": [64, 64], "components": [{"name": "fine", "length_scales": [2]}], **{key: value}}
    line = refusal(lambda: Recipe(**data))
    assert line.startswith(key)
    assert says in line


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("length_scale", [2], "did you mean 'length_scales'?"),
        ("weigth", 1, "did you mean 'weight'?"),
        ("self", 1, "there is no such key"),
        ("name", "", "at least 1 character"),
        ("length_scales", [], "at least 1 item"),
        ("length_scales", [2, 0], "length_scales.1"),
        ("length_scales", [-2], "greater than 0"),
        ("length_scales", [math.nan], "finite"),
        ("length_scales", [2, math.inf], "finite"),
        ("length_scales", [2, 3, 2.0], "2 stands twice"),
        ("length_scales", ["two"], "number"),
        ("length_scales", 2, "a list"),
        ("weight", math.nan, "finite"),
        ("weight", -math.inf, "finite"),
        ("boundary", "opne", "'periodic' or 'open'"),
        ("kernel", "mattern", "did you mean 'matern'?"),
        ("nu", 1.5, "no parameter 'nu'"),
        ("alpha", 1, "no parameter 'alpha'"),
        ("aspect", 0, "greater than 0"),
        ("aspect", math.inf, "finite"),
        ("angle", math.nan, "finite"),
        ("tolerance", 0, "greater than or equal to"),
        ("tolerance", 1, "less than 1"),
        ("tolerance", math.nan, "less than 1"),
        ("spectrum", "flat", "table of rows"),
        ("spectrum", [[0, 1, 2]], "table of rows"),
    ],
)
def test_a_bad_value_of_a_component_is_named_with_its_place(key, value, says):
    data = {"name": "fine", "length_scales": [2], **{key: value}}
    assert says in refusal(lambda: Component(**data))
    good = {"name": "good", "length_scales": [3]}
    line = refusal(lambda: Recipe(name="bad", shape=[64, 64], components=[good, data]))
    assert line.startswith("components.1: ")
    assert says in line


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"kernel": "matern", "alpha": 1}, "no parameter 'alpha'"),
        ({"kernel": "matern", "nu": 0}, "nu"),
        ({"kernel": "matern", "nu": math.nan}, "nu"),
        ({"kernel": "exponential", "nu": 1.5}, "use kernel matern"),
        ({"kernel": "rational-quadratic", "nu": 1.5}, "no parameter 'nu'"),
        ({"kernel": "rational-quadratic", "alpha": -1}, "alpha"),
        ({"kernel": "spectrum"}, "at least two rows"),
        ({"kernel": "spectrum", "spectrum": [[0, 1]]}, "at least two rows"),
        ({"kernel": "spectrum", "spectrum": [[1, 1], [0, 1]]}, "increasing"),
        ({"kernel": "spectrum", "spectrum": [[0, 1], [1, -1]]}, "not negative"),
        ({"kernel": "spectrum", "spectrum": [[0, 1], [1, math.nan]]}, "finite"),
    ],
)
def test_parameters_that_do_not_fit_the_kernel_are_refused(parameters, says):
    assert says in refusal(lambda: component(**parameters))


@pytest.mark.parametrize("kernel", ["squared-exponential", "matern"])
def test_a_spectrum_does_not_go_with_another_kernel_and_the_error_calls_it_by_its_key(kernel):
    assert "'spectrum'" in refusal(lambda: component(kernel=kernel, spectrum=[[0, 1], [1, 1]]))


def test_a_missing_key_is_named():
    assert refusal(lambda: Recipe(name="x", components=[component()])).startswith("shape: ")
    assert refusal(lambda: Recipe(name="x", shape=[8], components=[{"name": "a"}])).startswith("components.0: length_scales")


def test_two_components_of_one_name_are_refused():
    assert "'fine' stands twice" in refusal(lambda: two_scales(components=[component(), component(length_scales=[9])]))


def test_more_classes_than_anyone_wants_are_refused():
    parts = [component(name=str(n), length_scales=range(1, 51)) for n in range(3)]
    assert "125000 classes" in refusal(lambda: two_scales(components=parts))


def test_weights_beyond_the_range_of_the_images_are_refused():
    assert "float16" in refusal(lambda: two_scales(dtype="float16", components=[component(weight=1e5)]))
    assert "float16" in refusal(lambda: two_scales(dtype="float16", noise_std=1e5))


def test_anisotropy_in_one_dimension_is_refused_with_the_components_name():
    assert "component 'fine': aspect" in refusal(lambda: two_scales(shape=[64], components=[component(aspect=2)]))


def test_a_recipe_over_60_kb_is_refused():
    def table(rows):
        return two_scales(components=[component(kernel="spectrum", spectrum=[[n, 1] for n in range(rows)])])

    assert len(table(1000).to_json().encode()) < 60_000
    assert "60000" in refusal(lambda: table(10_000))


@pytest.mark.parametrize("use", [lambda recipe: recipe.texture("train", 2), Recipe.losses], ids=["texture", "losses"])
@pytest.mark.parametrize(
    ("scale", "boundary", "says"),
    [(60, "periodic", "too large"), (1e6, "open", "far larger"), (0.01, "periodic", "below a pixel")],
)
def test_a_length_scale_that_the_grid_cannot_honour_is_refused_with_the_components_name(scale, boundary, says, use):
    recipe = two_scales(components=[component(), component(name="wrong", length_scales=[4, scale], boundary=boundary)])
    line = refusal(lambda: use(recipe))
    assert line.startswith("component 'wrong': ")
    assert f"{scale:g}" in line
    assert says in line


@pytest.mark.parametrize("split", ["", "a b", "../x", 5])
def test_a_texture_of_a_split_with_an_impossible_name_is_refused(split):
    assert "split" in refusal(lambda: two_scales().texture(split, 0))


def test_text_that_is_no_recipe_is_refused(tmp_path):
    assert "not TOML" in refusal(lambda: Recipe.from_toml("name ="))
    assert "not JSON" in refusal(lambda: Recipe.from_json("{"))
    assert "JSON object" in refusal(lambda: Recipe.from_json("[1]"))
    missing, folder, binary, wrong = (tmp_path / name for name in ("missing.toml", "folder", "binary.toml", "wrong.toml"))
    folder.mkdir()
    binary.write_bytes(b"\xff\xfe\x00")
    wrong.write_text(two_scales().to_toml().replace("dtype", "dtyp"))
    for path in (missing, folder, binary, wrong):
        assert str(path) in refusal(lambda path=path: Recipe.read(path))
    assert "did you mean 'dtype'?" in refusal(lambda: Recipe.read(wrong))


def test_a_file_with_a_byte_order_mark_is_read_and_one_that_is_not_utf_8_is_named(tmp_path):
    path = tmp_path / "from Windows.toml"
    path.write_text(everything().to_toml(), encoding="utf-8-sig", newline="\r\n")
    assert path.read_bytes().startswith(b"\xef\xbb\xbf")
    assert Recipe.read(path) == everything()
    for encoding in ("utf-16", "latin-1"):
        path.write_text(two_scales(name="größe").to_toml(), encoding=encoding)
        line = refusal(lambda: Recipe.read(path))
        assert str(path) in line
        assert "save it as UTF-8" in line


@pytest.mark.parametrize("brackets", ["[" * 10**5, "[" * 3000 + "]" * 3000])
def test_text_of_many_brackets_is_refused(brackets):
    assert "nested" in refusal(lambda: Recipe.from_toml(f"shape = {brackets}"))
    assert "JSON" in refusal(lambda: Recipe.from_json("[" * 10**5))


@pytest.mark.parametrize("key", ["seed", "shape", "dtype", "noise_std", "standardize", "splits"])
def test_numbers_of_more_digits_than_python_writes_are_refused(key):
    good = two_scales(splits={}).to_toml().partition("[splits]")[0]
    without = "\n".join(line for line in good.splitlines() if not line.startswith(key))
    for number in ("9" * 5000, "0x" + "F" * 5000, f"[8, 0x{'F' * 5000}]"):
        refusal(lambda number=number: Recipe.from_toml(f"{key} = {number}\n{without}"))
    refusal(lambda: component(kernel="spectrum", spectrum=[[0, 1], [10**5000, 1]]))
    refusal(lambda: Recipe.from_json(f'{{"seed": {"9" * 5000}}}'))


def test_a_long_wrong_value_does_not_fill_the_screen():
    assert len(refusal(lambda: two_scales(dtype="float" * 10**5))) < 500


# -- presets


def test_presets_are_the_data_cards_with_a_recipe_and_each_can_be_honoured():
    assert set(gptex.presets()) >= {"golkar-cranmer-2018", "golkar-cranmer-2018-three-scales"}
    for name in gptex.presets():
        recipe = gptex.preset(name)
        assert recipe.name == name
        assert recipe.splits
        assert all(loss <= 1e-8 for losses in recipe.losses().values() for loss in losses.values())


def test_a_misspelt_preset_is_answered_with_the_nearest_one():
    assert "did you mean 'golkar-cranmer-2018'?" in refusal(lambda: gptex.preset("golkar-cranmer-218"))


@pytest.mark.parametrize("name", ["", "..", "no such thing", str(Path.cwd())])
def test_what_is_no_preset_is_answered_with_their_names(name):
    assert "golkar-cranmer-2018" in refusal(lambda: gptex.preset(name))


def test_a_power_spectrum_object_serves_as_spectrum_unless_it_is_stretched():
    table = PowerSpectrum(power=((0.0, 1.0), (5.0, 0.5)))
    kept = Component(name="a", kernel="spectrum", spectrum=table, length_scales=[2])
    assert kept.spectrum == ((0.0, 1.0), (5.0, 0.5))
    with pytest.raises(gptex.RecipeError, match="aspect"):
        Component(name="a", kernel="spectrum", spectrum=PowerSpectrum(power=table.power, aspect=3), length_scales=[2])
