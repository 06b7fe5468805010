"""The preview: a row of examples for each class, the very images of the dataset, with bars as long as the length scales."""

import json
import subprocess
import sys

import h5py
import numpy as np
import pytest

import gptex
from gptex import Component, GptexError, Recipe, RecipeError
from gptex.show import preview, save


def small(**changes):
    """Six classes of 64² pixels."""
    components = [
        Component(name="fine", length_scales=[1.5, 2, 3]),
        Component(name="coarse", length_scales=[8, 12], weight=2, boundary="open"),
    ]
    return Recipe(**{"name": "six", "shape": [64, 64], "components": components, "splits": {"train": 3, "test": 1}, **changes})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dataset whose examples of one class lie in several shards."""
    path = tmp_path_factory.mktemp("datasets") / "größe ℓ"
    gptex.generate(small(), path, workers=1, shard_size=7 * 64 * 64 * 4, progress=False)
    return path


def examples(figure):
    """The axes of a figure but for its colour bar."""
    return [axes for axes in figure.axes if axes.get_label() != "<colorbar>"]


def rows(figure):
    """The axes of a figure in rows from top to bottom."""
    columns = figure.axes[0].get_subplotspec().get_gridspec().ncols
    return [examples(figure)[first : first + columns] for first in range(0, len(examples(figure)), columns)]


def pictures(figure):
    """The images shown, by row."""
    return [[axes.images[0].get_array().data for axes in row if axes.images] for row in rows(figure)]


def bars(axes):
    """Lengths of the bars in pixels."""
    lengths = [line.get_xdata()[1] - line.get_xdata()[0] for line in axes.lines]
    assert all(line.get_ydata()[0] == line.get_ydata()[1] for line in axes.lines)
    return lengths


# -- what is shown


def test_a_datasets_images_are_shown_a_class_a_row(folder):
    stored = {}
    for shard in json.loads((folder / "manifest.json").read_text())["shards"]:
        if shard["split"] == "train":
            with h5py.File(folder / shard["file"]) as file:
                for image, label, index in zip(file["images"], file["labels"], file["index"], strict=True):
                    stored[int(index)] = (int(label), image)
    assert len(stored) == 18
    shown = pictures(preview(folder, columns=3))
    assert len(shown) == 6
    for label, row in enumerate(shown):
        expected = [image for _, (own, image) in sorted(stored.items()) if own == label]
        np.testing.assert_array_equal(row, expected)


@pytest.mark.parametrize("form", ["recipe", "file", "path"])
def test_a_recipe_shows_the_textures_that_its_dataset_would_have(form, folder, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(small().to_toml())
    source = {"recipe": small(), "file": str(path), "path": path}[form]
    np.testing.assert_array_equal(pictures(preview(source, columns=2)), pictures(preview(folder, columns=2)))


def test_a_recipe_without_counts_can_be_shown():
    np.testing.assert_array_equal(pictures(preview(small(splits={}), columns=1)), pictures(preview(small(), columns=1)))


def test_the_first_split_is_shown_unless_another_one_is_asked_for(folder):
    train, test = (pictures(preview(folder, columns=1, split=split)) for split in ("train", "test"))
    np.testing.assert_array_equal(pictures(preview(folder, columns=1)), train)
    assert np.abs(np.subtract(train, test)).max() > 1
    np.testing.assert_array_equal(pictures(preview(small(), columns=1, split="test")), test)


def test_more_columns_than_textures_leave_no_empty_places(folder):
    figure = preview(folder, columns=5)
    assert [len(row) for row in pictures(figure)] == [3] * 6
    assert [[axes.axison for axes in row] for row in rows(figure)] == [[True] * 3] * 6


def test_all_images_share_one_scale_of_grey_symmetric_about_zero():
    figure = preview(small())
    limits = {axes.images[0].get_clim() for axes in examples(figure)}
    assert len(limits) == 1
    low, high = limits.pop()
    assert low == -high < 0
    (bar,) = set(figure.axes) - set(examples(figure))
    assert bar.get_ylim() == (low, high)


def test_rows_are_labelled_with_the_number_and_name_of_the_class():
    labels = [row[0].get_ylabel() for row in rows(preview(small()))]
    assert labels == ["0: 1.5-8", "1: 2-8", "2: 3-8", "3: 1.5-12", "4: 2-12", "5: 3-12"]


def test_the_title_says_name_size_and_number_of_classes():
    title = preview(small(shape=[48, 64])).get_suptitle()
    assert title.startswith("six\n6 classes, 48 × 64 pixels")


def test_bars_are_as_long_as_the_length_scales_and_lie_inside_the_image():
    for row, scales in zip(rows(preview(small())), [(1.5, 8), (2, 8), (3, 8), (1.5, 12), (2, 12), (3, 12)], strict=True):
        assert bars(row[0]) == pytest.approx(scales)
        assert [text.get_text() for text in row[0].texts] == [f"{scale:g}" for scale in scales]
        assert all(bars(axes) == [] for axes in row[1:])
        assert sorted(row[0].get_xlim()) == [-0.5, 63.5]
        assert sorted(row[0].get_ylim()) == [-0.5, 63.5]
        assert all(-0.5 < x < 63.5 for line in row[0].lines for x in (*line.get_xdata(), *line.get_ydata()))


def test_row_0_of_an_image_is_on_top():
    bottom, top = preview(small()).axes[0].get_ylim()
    assert bottom > top


# -- which textures


def test_classes_are_shown_by_name_or_label_in_the_order_asked_for(folder):
    for source in (folder, small()):
        figure = preview(source, columns=2, classes=["3-12", 0, "4"])
        assert [row[0].get_ylabel() for row in rows(figure)] == ["5: 3-12", "0: 1.5-8", "4: 2-12"]
        assert "3 of 6 classes" in figure.get_suptitle()


def test_a_name_comes_before_a_label():
    recipe = small(components=[Component(name="fine", length_scales=[2, 1])])  # class 0 is called 2, class 1 is called 1
    assert [row[0].get_ylabel() for row in rows(preview(recipe, classes=["2", "0", 1]))] == ["0: 2", "1: 1"]


def test_textures_can_be_chosen_by_their_index(folder):
    recipe = small()
    for source in (folder, recipe):
        figure = preview(source, indices=[13, 0, 7, 6])
        shown = [(row[0].get_ylabel(), [axes.get_title() for axes in row if axes.images]) for row in rows(figure)]
        assert shown == [("0: 1.5-8", ["texture 0", "texture 6"]), ("1: 2-8", ["texture 13", "texture 7"])]
        expected = [[recipe.texture("train", index).image for index in row] for row in ([0, 6], [13, 7])]
        np.testing.assert_array_equal(pictures(figure), expected)


def test_many_textures_of_a_class_take_several_rows():
    assert [len(row) for row in pictures(preview(small(), indices=[0, 6, 12, 18, 24], columns=2))] == [2, 2, 1]


@pytest.mark.parametrize(("zoom", "size"), [(1, 64), (4, 16), (3, 21), (1000, 2)])
def test_zoom_shows_the_central_part(zoom, size):
    figure = preview(small(), columns=1, zoom=zoom)
    start = (64 - size) // 2
    whole = small().texture("train", 0).image
    np.testing.assert_array_equal(pictures(figure)[0][0], whole[start : start + size, start : start + size])
    assert (f"central {size} × {size}" in " ".join(figure.get_suptitle().split())) == (zoom > 1)
    assert bars(rows(figure)[0][0]) == pytest.approx([1.5, 8])  # in pixels of the image still


def test_zoom_shows_part_of_a_curve_and_of_a_slice():
    line = preview(small(shape=[200]), columns=1, zoom=2)
    assert len(line.axes[0].lines[0].get_ydata()) == 100
    volume = preview(small(shape=[9, 24, 32], components=[Component(name="fine", length_scales=[2, 3])]), columns=1, zoom=2)
    assert pictures(volume)[0][0].shape == (12, 16)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"classes": ["7"]}, "no class '7'"),
        ({"classes": [-1]}, "no class -1"),
        ({"classes": ["1.5-9"]}, "did you mean '1.5-8'"),
        ({"indices": [18]}, "no texture 18"),
        ({"indices": [-1]}, "no texture -1"),
        ({"indices": [0], "classes": [0]}, "not both"),
        ({"indices": range(17), "columns": 1}, "too many"),
        ({"zoom": 0.5}, "0.5"),
        ({"zoom": float("nan")}, "nan"),
    ],
)
def test_what_cannot_be_shown_is_refused(options, message, folder):
    with pytest.raises(GptexError, match=message):
        preview(folder, **options)


# -- other shapes


def test_a_one_dimensional_texture_is_a_curve():
    recipe = small(shape=[200])
    figure = preview(recipe, columns=2)
    for label, row in enumerate(rows(figure)):
        for n, axes in enumerate(row):
            (line,) = axes.lines
            np.testing.assert_array_equal(line.get_ydata(), recipe.texture("train", label + 6 * n).image)


def test_of_a_three_dimensional_texture_the_middle_slice_is_shown():
    recipe = small(shape=[9, 24, 32], components=[Component(name="fine", length_scales=[2, 3])])
    figure = preview(recipe, columns=2)
    assert "slice 4 of the first axis" in " ".join(figure.get_suptitle().split())
    for label, row in enumerate(pictures(figure)):
        for n, image in enumerate(row):
            np.testing.assert_array_equal(image, recipe.texture("train", label + 2 * n).image[4])


def test_of_many_classes_sixteen_from_first_to_last_are_shown_and_the_title_says_so(tmp_path):
    recipe = small(components=[Component(name="fine", length_scales=range(1, 19))], splits={"train": 1})
    gptex.generate(recipe, tmp_path / "many", workers=1, progress=False)
    for source in (recipe, tmp_path / "many"):
        figure = preview(source, columns=1)
        shown = [int(axes.get_ylabel().partition(":")[0]) for axes in examples(figure)]
        assert len(set(shown)) == 16
        assert shown == sorted(shown)
        assert max(np.diff([*shown, 18])) == 2  # no two neighbours are left out
        assert "16 of 18 classes" in " ".join(figure.get_suptitle().split())


@pytest.mark.parametrize("shape", [[64], [64, 64]], ids=str)
def test_textures_next_to_without_contrast_are_drawn(shape, tmp_path):
    nothing = small(shape=shape, components=[Component(name="next to nothing", length_scales=[2], weight=2e-37)])
    save(preview(nothing), tmp_path / "nothing.png")
    assert (tmp_path / "nothing.png").read_bytes().startswith(b"\x89PNG")


def test_half_precision_is_drawn_like_single(tmp_path):
    half, single = (preview(small(dtype=dtype)).axes[0].images[0].get_array() for dtype in ("float16", "float32"))
    np.testing.assert_allclose(half, single, atol=0.01)


# -- files


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
def test_the_ending_of_the_name_is_the_format(ending, tmp_path):
    save(preview(small(), columns=1), tmp_path / f"picture.{ending}")
    head = (tmp_path / f"picture.{ending}").read_bytes()[:100]
    assert {"png": b"PNG", "pdf": b"%PDF", "svg": b"<?xml"}[ending] in head


@pytest.mark.parametrize("name", ["漢字", r"costs $\frac5 b$", "$", "100 % _of_ ^x^ & {y}"])
def test_a_recipe_of_any_name_is_drawn_as_it_is_written(name, tmp_path):
    figure = preview(small(name=name), columns=1)
    save(figure, tmp_path / "picture.png")
    assert figure.get_suptitle().startswith(name)


def test_drawing_leaves_the_users_figures_alone():
    from matplotlib import pyplot

    preview(small(), columns=1)
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("name", ["nowhere/picture.png", "picture.xyz", "picture", "."])
def test_what_cannot_be_written_is_an_error_of_one_line_that_names_the_file(name, tmp_path):
    with pytest.raises(GptexError) as error:
        save(preview(small(), columns=1), tmp_path / name)
    assert str(tmp_path / name) in str(error.value)
    assert len(str(error.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


# -- bad input


def test_a_split_that_is_not_there_is_refused_with_those_that_are(folder):
    with pytest.raises(GptexError, match="there are train, test"):
        preview(folder, split="val")


def test_what_is_no_source_is_refused(tmp_path):
    with pytest.raises(GptexError, match="golkar-cranmer-2018"):
        preview(tmp_path / "missing")
    with pytest.raises(GptexError, match=r"manifest\.json"):
        preview(tmp_path)
    (tmp_path / "text.toml").write_text("hello")
    with pytest.raises(RecipeError, match=r"text\.toml"):
        preview(tmp_path / "text.toml")


def test_no_columns_are_refused():
    with pytest.raises(GptexError, match="0"):
        preview(small(), columns=0)


WITHOUT_MATPLOTLIB = """
import sys
sys.modules["matplotlib"] = None
import gptex
try:
    gptex.preview("golkar-cranmer-2018")
except gptex.MissingExtraError as error:
    print(error)
"""


def test_without_matplotlib_the_error_names_the_extra():
    run = subprocess.run([sys.executable, "-c", WITHOUT_MATPLOTLIB], capture_output=True, text=True, check=True)
    assert "gptex[plot]" in run.stdout
    assert len(run.stdout.splitlines()) == 1
