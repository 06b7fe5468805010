"""`gptex preview`: a picture of a dataset, a recipe or a preset."""

import struct

from gptex import Recipe


def size(png):
    """Width and height of a PNG file in pixels, from its header."""
    data = png.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n")
    return struct.unpack(">II", data[16:24])


def test_a_picture_of_a_dataset_is_written_where_it_is_said(done, dataset, tmp_path, contents):
    before = contents(dataset)
    assert done("preview", dataset.name, "-o", "bild ℓ.png").strip() == "bild ℓ.png"
    width, height = size(tmp_path / "bild ℓ.png")
    assert width > 100 < height
    assert contents(dataset) == before


def test_columns_and_dots_per_inch_change_the_size(done, dataset, tmp_path):
    done("preview", dataset, "-o", "one.png", "--columns", "1", "--dpi", "100")
    done("preview", dataset, "-o", "two.png", "--columns", "2", "--dpi", "50")
    one, two = size(tmp_path / "one.png"), size(tmp_path / "two.png")
    assert one[1] == 2 * two[1]
    assert one[0] / 2 < two[0] < one[0]


def test_a_split_can_be_chosen(done, dataset, tmp_path):
    for split in ("train", "test"):
        done("preview", dataset, "-o", f"{split}.png", "--columns", "1", "--split", split)
    assert (tmp_path / "train.png").read_bytes() != (tmp_path / "test.png").read_bytes()


def test_a_recipe_is_drawn_without_a_dataset(done, dataset, tmp_path):
    (tmp_path / "my recipe.toml").write_text((dataset / "recipe.toml").read_text())
    done("preview", "my recipe.toml", "-o", "recipe.png", "--columns", "2")
    done("preview", dataset, "-o", "dataset.png", "--columns", "2")
    assert (tmp_path / "recipe.png").read_bytes() == (tmp_path / "dataset.png").read_bytes()


def test_a_preset_is_drawn_without_a_dataset(done, tmp_path):
    done("preview", "golkar-cranmer-2018", "-o", "preset.png", "--columns", "1")
    width, height = size(tmp_path / "preset.png")
    assert height > 2 * width  # four rows of one


def test_a_recipe_of_any_name_is_drawn_without_a_word(gptex, tmp_path):
    part = {"name": "fine", "length_scales": [2]}
    recipe = Recipe(name=r"漢字 $\frac5 b$", shape=[16, 16], components=[part])
    (tmp_path / "recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    result = gptex("preview", "recipe.toml", "-o", "picture.png")
    assert (result.returncode, result.stderr) == (0, "")


def test_classes_and_a_part_of_them_can_be_chosen(done, dataset, tmp_path):
    done("preview", dataset, "-o", "all.png", "--columns", "1")
    done("preview", dataset, "-o", "one.png", "--columns", "1", "--class", "3-8")
    done("preview", dataset, "-o", "same.png", "--columns", "1", "--class", "1")
    done("preview", dataset, "-o", "part.png", "--columns", "1", "--class", "1", "--zoom", "4")
    one = (tmp_path / "one.png").read_bytes()
    assert (tmp_path / "same.png").read_bytes() == one != (tmp_path / "part.png").read_bytes()
    assert size(tmp_path / "one.png")[1] < size(tmp_path / "all.png")[1]


def test_textures_can_be_chosen_by_their_index(done, dataset, tmp_path):
    done("preview", dataset, "-o", "some.png", "--index", "3", "--index", "1")
    done("preview", dataset, "-o", "first.png", "--index", "0", "--index", "1")
    assert (tmp_path / "some.png").read_bytes() != (tmp_path / "first.png").read_bytes()


def test_what_is_not_there_is_refused(refused, dataset):
    assert "no class 'four'" in refused("preview", dataset, "-o", "x.png", "--class", "four")
    assert "no texture 99" in refused("preview", dataset, "-o", "x.png", "--index", "99")
    assert "not both" in refused("preview", dataset, "-o", "x.png", "--index", "0", "--class", "0")
    refused("preview", dataset, "-o", "x.png", "--zoom", "0.5", code=2)


def test_without_a_display_view_says_what_to_do(refused, dataset):
    message = refused("view", dataset.name, env={"MPLBACKEND": "agg", "PATH": ""})
    assert f"`gptex preview '{dataset.name}' -o preview.png`" in message
