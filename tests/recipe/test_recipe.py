"""The recipe: files, classes and labels, changes, presets.

Statistical tests have fixed seeds; each states how often a right implementation would fail it for a random seed.
"""

import itertools
import json
import math
import pickle
import re
import tomllib
from pathlib import Path

import numpy as np
import pytest

import gptex
from gptex import Component, Recipe, RecipeError
from gptex.fields import PowerSpectrum
from gptex.recipe import scale_name

# -- files


def test_toml_reads_back_to_an_equal_recipe(everything):
    recipe = everything()
    assert Recipe.from_toml(recipe.to_toml()) == recipe


def test_json_reads_back_to_an_equal_recipe_but_for_the_splits(everything):
    recipe = everything()
    assert Recipe.from_json(recipe.to_json()) == recipe.replace(splits={})


def test_toml_is_what_any_toml_reader_reads(everything):
    data = tomllib.loads(everything().to_toml())
    assert data["name"] == 'name with "quotes", \\ and ℓ'
    assert data["shape"] == [64, 48, 3]
    assert data["seed"] == 2**128 - 1
    assert data["splits"] == {"train": 25, "größe_1": 1, "1-val": 2**40 - 1}
    assert [c["name"] for c in data["components"]][3] == "it's = 1 # no comment"
    assert data["components"][1]["length_scales"] == [1e-3, 1 / 3, 1e22]
    assert data["components"][4]["spectrum"] == [[0, 0], [0.1, 2.5], [3, 0.5]]


@pytest.mark.parametrize("character", [chr(code) for code in [*range(1, 32), 127, 0x85, 0x2028, 0x1F600]], ids=ascii)
def test_any_character_in_a_components_name_is_written_so_that_it_reads_back_or_is_refused(component, two_scales, character):
    try:
        recipe = two_scales(components=[component(name=f"a{character}b")])
    except RecipeError:
        return
    assert Recipe.from_toml(recipe.to_toml()) == recipe
    assert Recipe.from_json(recipe.to_json()) == recipe.replace(splits={})


def test_json_does_not_depend_on_the_splits_nor_on_the_order_of_keys(two_scales):
    data = json.loads(two_scales().to_json())
    assert "splits" not in data
    shuffled = Recipe.from_json(json.dumps(dict(reversed(data.items()))))
    assert shuffled.to_json() == two_scales().to_json() == two_scales(splits={"test": 7}).to_json()


def test_a_recipe_is_read_from_its_file_in_utf_8(everything, tmp_path):
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
def test_a_scales_name_has_twelve_digits_and_none_that_say_nothing(component, two_scales, scale):
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


def test_components_may_have_different_numbers_of_length_scales(component, two_scales):
    scales = [[1, 2, 3], [4], [5, 6]]
    recipe = two_scales(components=[component(name=str(n), length_scales=s) for n, s in enumerate(scales)])
    assert recipe.n_classes == 6
    for label, (coarse, middle, fine) in enumerate(itertools.product(*reversed(scales))):
        assert recipe.length_scales(label) == (fine, middle, coarse)
        assert recipe.classes[label] == f"{fine}-{middle}-{coarse}"


def test_different_length_scales_have_different_names(component, two_scales):
    close = [1.0, 1.0 + 1e-13]
    try:
        recipe = two_scales(components=[component(length_scales=close)])
    except RecipeError:
        return
    assert len(set(recipe.classes)) == 2
    assert len(recipe.losses()["fine"]) == 2


@pytest.mark.parametrize("label", [-1, 2])
def test_a_label_out_of_range_is_refused(two_scales, refusal, label):
    assert "0 to 1" in refusal(lambda: two_scales().length_scales(label))


def test_texture_i_has_class_i_modulo_the_number_of_classes(component, two_scales):
    recipe = two_scales(components=[component(length_scales=[2, 3, 4])])
    for index in (0, 1, 2, 3, 4, 3 * 10**12 + 2):
        texture = recipe.texture("train", index)
        assert texture.label == index % 3
        assert texture.length_scales == ((2.0, 3.0, 4.0)[index % 3],)


def test_a_texture_has_the_length_scale_of_its_label(component, two_scales):
    """Mean square gradient over variance is 2/ℓ² for a squared exponential in two dimensions.

    Over ten textures of 64² it scatters by some 5 %, and the classes differ by a factor of 4.
    """
    recipe = two_scales(components=[component(length_scales=[3, 6])])
    for label, scale in enumerate([3, 6]):
        images = [recipe.texture("train", label + 2 * n).image for n in range(10)]
        gradients = np.mean([np.square(np.gradient(image)).sum(axis=0).mean() for image in images])
        assert math.sqrt(2 * np.var(images) / gradients) == pytest.approx(scale, rel=0.2)


# -- changes, copies, pickles


def test_replace_checks_anew(two_scales, refusal):
    recipe = two_scales()
    assert "seed" in refusal(lambda: recipe.replace(seed=-1))
    assert "did you mean 'dtype'?" in refusal(lambda: recipe.replace(dtyp="float64"))
    assert "seed" in refusal(lambda: recipe.model_copy(update={"seed": -1}))
    assert "did you mean 'weight'?" in refusal(lambda: recipe.components[0].replace(weigth=2))


@pytest.mark.parametrize("change", [Recipe.replace, lambda recipe, **changes: recipe.model_copy(update=changes)])
def test_a_changed_recipe_draws_its_own_textures_also_after_the_first_has_drawn(component, two_scales, change):
    recipe = two_scales()
    recipe.texture("train", 0)
    other = change(recipe, shape=[32, 48], components=[component(length_scales=[5])])
    fresh = Recipe(name="two scales", shape=[32, 48], components=[component(length_scales=[5])])
    np.testing.assert_array_equal(other.texture("train", 0).image, fresh.texture("train", 0).image)


def test_a_changed_component_has_its_own_kernel(component):
    part = component(kernel="matern", nu=1.5)
    assert part.replace(nu=2.5).kernel_object.nu == 2.5
    assert part.model_copy(update={"nu": 2.5}).kernel_object.nu == 2.5


def test_a_recipe_cannot_be_changed_in_place(two_scales):
    recipe = two_scales()
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3
    assert recipe.seed == 0


def test_a_pickled_recipe_stays_small_after_drawing(two_scales):
    recipe = two_scales(shape=[256, 256])
    recipe.texture("train", 0)
    recipe.losses()
    assert len(pickle.dumps(recipe)) < 5000


# -- a spectrum as a callable


def bump(q):
    return np.exp(-((q - 1) ** 2))


def test_a_spectrum_given_as_a_callable_draws_but_cannot_be_written(component, two_scales, refusal):
    recipe = two_scales(components=[component(kernel="spectrum", length_scales=[2], spectrum=bump)])
    assert np.isfinite(recipe.texture("train", 0).image).all()
    for write in (recipe.to_toml, recipe.to_json):
        assert "tabulate" in refusal(write)


def test_a_table_of_a_callable_gives_nearly_the_same_texture(component, two_scales):
    q = np.linspace(0, 8, 200)
    table = list(zip(q.tolist(), bump(q).tolist(), strict=True))
    drawn = [
        two_scales(components=[component(kernel="spectrum", length_scales=[2], spectrum=s)]).texture("train", 0).image
        for s in (bump, table)
    ]
    np.testing.assert_allclose(drawn[0], drawn[1], atol=0.01)


# -- presets


def test_presets_are_the_data_cards_with_a_recipe_and_each_can_be_honoured():
    assert set(gptex.presets()) >= {"golkar-cranmer-2018", "golkar-cranmer-2018-three-scales"}
    for name in gptex.presets():
        recipe = gptex.preset(name)
        assert recipe.name == name
        assert recipe.splits
        assert all(loss <= 1e-8 for losses in recipe.losses().values() for loss in losses.values())


def test_a_misspelt_preset_is_answered_with_the_nearest_one(refusal):
    assert "did you mean 'golkar-cranmer-2018'?" in refusal(lambda: gptex.preset("golkar-cranmer-218"))


@pytest.mark.parametrize("name", ["", "..", "no such thing", str(Path.cwd())])
def test_what_is_no_preset_is_answered_with_their_names(refusal, name):
    assert "golkar-cranmer-2018" in refusal(lambda: gptex.preset(name))


def test_a_power_spectrum_object_serves_as_spectrum_unless_it_is_stretched():
    table = PowerSpectrum(power=((0.0, 1.0), (5.0, 0.5)))
    kept = Component(name="a", kernel="spectrum", spectrum=table, length_scales=[2])
    assert kept.spectrum == ((0.0, 1.0), (5.0, 0.5))
    with pytest.raises(gptex.RecipeError, match="aspect"):
        Component(name="a", kernel="spectrum", spectrum=PowerSpectrum(power=table.power, aspect=3), length_scales=[2])
