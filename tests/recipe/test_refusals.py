"""What is no recipe is refused in one line that names the place."""

import math

import pytest

from gptex import Component, Recipe, RecipeError


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
def test_a_bad_value_of_a_recipe_is_named_with_its_key(refusal, key, value, says):
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
def test_a_bad_value_of_a_component_is_named_with_its_place(refusal, key, value, says):
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
def test_parameters_that_do_not_fit_the_kernel_are_refused(component, refusal, parameters, says):
    assert says in refusal(lambda: component(**parameters))


@pytest.mark.parametrize("kernel", ["squared-exponential", "matern"])
def test_a_spectrum_does_not_go_with_another_kernel_and_the_error_calls_it_by_its_key(component, refusal, kernel):
    assert "'spectrum'" in refusal(lambda: component(kernel=kernel, spectrum=[[0, 1], [1, 1]]))


def test_a_missing_key_is_named(component, refusal):
    assert refusal(lambda: Recipe(name="x", components=[component()])).startswith("shape: ")
    assert refusal(lambda: Recipe(name="x", shape=[8], components=[{"name": "a"}])).startswith("components.0: length_scales")


def test_two_components_of_one_name_are_refused(component, two_scales, refusal):
    assert "'fine' stands twice" in refusal(lambda: two_scales(components=[component(), component(length_scales=[9])]))


def test_more_classes_than_anyone_wants_are_refused(component, two_scales, refusal):
    parts = [component(name=str(n), length_scales=range(1, 51)) for n in range(3)]
    assert "125000 classes" in refusal(lambda: two_scales(components=parts))


def test_weights_beyond_the_range_of_the_images_are_refused(component, two_scales, refusal):
    assert "float16" in refusal(lambda: two_scales(dtype="float16", components=[component(weight=1e5)]))
    assert "float16" in refusal(lambda: two_scales(dtype="float16", noise_std=1e5))


def test_anisotropy_in_one_dimension_is_refused_with_the_components_name(component, two_scales, refusal):
    assert "component 'fine': aspect" in refusal(lambda: two_scales(shape=[64], components=[component(aspect=2)]))


def test_a_recipe_over_60_kb_is_refused(component, two_scales, refusal):
    def table(rows):
        return two_scales(components=[component(kernel="spectrum", spectrum=[[n, 1] for n in range(rows)])])

    assert len(table(1000).to_json().encode()) < 60_000
    assert "60000" in refusal(lambda: table(10_000))


@pytest.mark.parametrize("use", [lambda recipe: recipe.texture("train", 2), Recipe.losses], ids=["texture", "losses"])
@pytest.mark.parametrize(
    ("scale", "boundary", "says"),
    [(60, "periodic", "too large"), (1e6, "open", "far larger"), (0.01, "periodic", "below a pixel")],
)
def test_a_length_scale_that_the_grid_cannot_honour_is_refused_with_the_components_name(
    component, two_scales, refusal, scale, boundary, says, use
):
    recipe = two_scales(components=[component(), component(name="wrong", length_scales=[4, scale], boundary=boundary)])
    line = refusal(lambda: use(recipe))
    assert line.startswith("component 'wrong': ")
    assert f"{scale:g}" in line
    assert says in line


@pytest.mark.parametrize("split", ["", "a b", "../x", 5])
def test_a_texture_of_a_split_with_an_impossible_name_is_refused(two_scales, refusal, split):
    assert "split" in refusal(lambda: two_scales().texture(split, 0))


def test_text_that_is_no_recipe_is_refused(two_scales, refusal, tmp_path):
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


def test_a_file_with_a_byte_order_mark_is_read_and_one_that_is_not_utf_8_is_named(two_scales, everything, refusal, tmp_path):
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
def test_text_of_many_brackets_is_refused(refusal, brackets):
    assert "nested" in refusal(lambda: Recipe.from_toml(f"shape = {brackets}"))
    assert "JSON" in refusal(lambda: Recipe.from_json("[" * 10**5))


@pytest.mark.parametrize("key", ["seed", "shape", "dtype", "noise_std", "standardize", "splits"])
def test_numbers_of_more_digits_than_python_writes_are_refused(component, two_scales, refusal, key):
    good = two_scales(splits={}).to_toml().partition("[splits]")[0]
    without = "\n".join(line for line in good.splitlines() if not line.startswith(key))
    for number in ("9" * 5000, "0x" + "F" * 5000, f"[8, 0x{'F' * 5000}]"):
        refusal(lambda number=number: Recipe.from_toml(f"{key} = {number}\n{without}"))
    refusal(lambda: component(kernel="spectrum", spectrum=[[0, 1], [10**5000, 1]]))
    refusal(lambda: Recipe.from_json(f'{{"seed": {"9" * 5000}}}'))


def test_a_long_wrong_value_does_not_fill_the_screen(two_scales, refusal):
    assert len(refusal(lambda: two_scales(dtype="float" * 10**5))) < 500


@pytest.mark.parametrize(("dtype", "weight"), [("float16", 1e-8), ("float32", 1e-44), ("float64", 0.0)])
def test_weights_that_leave_nothing_are_refused(dtype, weight):
    only = Component(name="only", length_scales=[2], weight=weight)
    with pytest.raises(RecipeError, match=f"leave nothing in {dtype}"):
        Recipe(name="nothing", shape=[8, 8], dtype=dtype, components=[only])
    Recipe(name="noise", shape=[8, 8], dtype=dtype, components=[only], noise_std=1)
