"""`gptex info`: what a dataset holds, for people and for programs."""

import json
import os
import subprocess


def test_info_tells_what_the_recipe_and_the_manifest_say(done, dataset):
    text = done("info", dataset)
    rows = dict(line.split(maxsplit=1) for line in text.splitlines())
    assert rows["textures"] == "6: train 4 (2 per class), test 2 (1 per class)"
    assert rows["image"] == "64 x 64 float32"
    assert rows["classes"] == "2: 2-8, 3-8"
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
