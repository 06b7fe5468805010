"""`gptex plan`: what `gptex generate` would do with the same arguments, without doing it."""

import json
import re
import shutil

import pytest


def rows(text):
    """The answer as key and value."""
    return {line[:10].strip(): line[10:].strip() for line in text.splitlines()}


def test_a_plan_says_what_generate_would_write(done, small, original, tmp_path):
    said = rows(done("plan", "out", *small()))
    assert list(tmp_path.iterdir()) == []
    assert said["classes"] == "2: 2-8, 3-8"
    assert said["textures"] == "train 4 (2 per class), test 2 (1 per class); 6 to make"
    assert said["image"] == "64 x 64 float32, 16.4 kB"
    assert said["shards"] == "3 to write"
    assert said["bytes"] == "98.5 kB"  # 6 textures of 64² float32, each with a label, an index and two length scales
    written = json.loads((original / "manifest.json").read_text())["shards"]
    assert (len(written), sum(shard["count"] for shard in written)) == (3, 6)


def test_a_plan_measures_the_time_and_the_free_disk(done, small, tmp_path):
    said = rows(done("plan", tmp_path / "not" / "there" / "yet", *small()))
    assert re.match(r"about \d+\.\d s with 1 worker", said["time"])
    number, unit = re.fullmatch(r"([\d.]+) ([kMGTP]?B)", said["free disk"]).groups()
    said_free = float(number) * 1000 ** ["B", "kB", "MB", "GB", "TB", "PB"].index(unit)
    assert said_free == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.1)  # others write too


def test_a_plan_for_what_is_there_already_makes_nothing(done, small, dataset, contents):
    before = contents(dataset)
    said = rows(done("plan", dataset, *small()))
    assert said["textures"].endswith("; 0 to make")
    assert said["shards"] == "0 to write, 3 there already"
    assert contents(dataset) == before


def test_a_plan_that_extends_a_dataset_counts_only_what_is_missing(done, small, dataset, contents):
    before = contents(dataset)
    said = rows(done("plan", dataset, *small(train=4)))
    assert "train 8 (4 per class), test 2" in said["textures"]
    assert said["textures"].endswith("; 4 to make")
    assert contents(dataset) == before


def test_a_plan_to_overwrite_counts_everything_and_deletes_nothing(done, small, dataset, contents):
    before = contents(dataset)
    said = rows(done("plan", dataset, *small(), "--seed", "8", "--overwrite"))
    assert said["textures"].endswith("; 6 to make")
    assert contents(dataset) == before


def test_many_classes_are_shortened(done):
    said = rows(done("plan", "out", "--size", "64", "--scales", "1,2,3,4,5,6,7,8,9,10", "--per-class", "1"))
    assert said["classes"] == "10: 1, 2, 3, 4, 5, 6, 7, 8, …"


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_a_recipe_without_counts_is_refused(command, refused, tmp_path):
    assert "textures" in refused(command, "out", "--size", "64", "--scales", "2")
    assert list(tmp_path.iterdir()) == []
