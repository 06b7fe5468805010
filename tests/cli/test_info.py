"""`gptex info`: what a dataset holds, for people and for programs."""

import json
import os
import subprocess

import pytest


def test_info_tells_what_the_recipe_and_the_manifest_say(done, dataset):
    text = done("info", dataset)
    rows = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert rows["textures"] == "6: train 4 (2 per class), test 2 (1 per class)"
    assert rows["image"] == "64 x 64 float32"
    assert rows["classes"] == "2: 2-8, 3-8"
    assert rows["labels"] == "0 to 1, in this order"
    assert rows["component-1"].startswith("squared-exponential, ℓ = 2, 3 pixels, weight 0.75, periodic, error ≤ ")
    assert rows["component-2"].startswith("squared-exponential, ℓ = 8 pixels, weight 1.25, periodic, error ≤ ")
    assert rows["seed"] == "7"
    assert rows["shards"].startswith("3, ")


def test_json_is_the_manifest_with_totals(done, dataset):
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    told = json.loads(done("info", dataset, "--json"))
    assert told.pop("textures") == 6
    assert told.pop("bytes") == sum(path.stat().st_size for path in dataset.glob("*/*.h5"))
    assert told == manifest


def test_a_reader_that_goes_away_is_no_error_to_speak_of(command, dataset):
    """As in `gptex info | head -1`, with a `head` that has gone before the first line."""
    process = subprocess.Popen([command, "info", dataset], stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == b""
    process.stderr.close()
    process.wait(timeout=60)


def test_info_can_be_printed_in_any_encoding(gptex, dataset):
    result = gptex("info", dataset, env={**os.environ, "PYTHONIOENCODING": "latin-1"}, encoding="latin-1")
    assert result.returncode == 0, result.stderr
    assert "2 per class" in result.stdout


def test_a_dataset_in_a_read_only_folder_can_be_looked_at(done, dataset, obey_permissions):
    for folder in (dataset / "train", dataset / "test", dataset):
        folder.chmod(0o555)
    assert "2: 2-8, 3-8" in done("info", dataset, **obey_permissions)
    assert done("verify", dataset, **obey_permissions).strip() == "3 shards, all right"
    for folder in (dataset, dataset / "train", dataset / "test"):
        folder.chmod(0o755)


@pytest.mark.parametrize("as_file", [False, True], ids=["preset", "file"])
def test_info_tells_what_a_recipe_says_without_a_dataset(done, tmp_path, as_file):
    source = "golkar-cranmer-2018"
    if as_file:
        (tmp_path / "recipe.toml").write_text(done("presets", source), encoding="utf-8")
        source = "recipe.toml"
    before = list(tmp_path.iterdir())
    rows = dict(line.split(maxsplit=1) for line in done("info", source).splitlines())
    assert rows["textures"] == "100: train 100 (25 per class)"
    assert rows["image"] == "1024 x 1024 float32"
    assert rows["classes"] == "4: 9.5-80, 10-80, 9.5-140, 10-140"
    assert rows["labels"] == "0 to 3, in this order"
    assert rows["fine"] == "squared-exponential, ℓ = 9.5, 10 pixels, weight 0.75, periodic"
    assert rows["coarse"] == "squared-exponential, ℓ = 80, 140 pixels, weight 1.25, open"
    assert rows["standardize"] == "yes"
    told = json.loads(done("info", source, "--json"))
    assert told["recipe"]["shape"] == [1024, 1024]
    assert told["classes"] == ["9.5-80", "10-80", "9.5-140", "10-140"]
    assert told["splits"] == {"train": {"textures": 100, "per_class": 25}}
    assert told["textures"] == 100
    assert list(tmp_path.iterdir()) == before


def test_a_recipe_and_the_dataset_made_with_it_are_described_in_the_same_words(done, dataset):
    """But for what only the dataset knows: the measured errors, the shards and the versions."""
    of_dataset, of_recipe = (done("info", source).splitlines() for source in (dataset, dataset / "recipe.toml"))
    assert [line.partition(", error")[0] for line in of_dataset[:-2]] == of_recipe
    whole, part = (json.loads(done("info", source, "--json")) for source in (dataset, dataset / "recipe.toml"))
    assert part == {key: whole[key] for key in part}


def test_a_recipe_without_splits_is_told_too(done, tmp_path):
    (tmp_path / "recipe.toml").write_text('name = "a"\nshape = [8]\n[[components]]\nname = "f"\nlength_scales = [1]\n')
    assert "1: 1" in done("info", "recipe.toml")
    assert json.loads(done("info", "recipe.toml", "--json"))["splits"] == {}


def test_what_is_neither_dataset_nor_recipe_is_answered_with_the_nearest_preset(refused):
    line = refused("info", "golkar-cranmer-2108")
    assert "golkar-cranmer-2108 is no folder" in line
    assert "did you mean 'golkar-cranmer-2018'?" in line
