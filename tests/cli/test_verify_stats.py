"""`gptex verify --stats`: hashes, then the statistics of the pixels; exit codes, JSON and usage."""

import json

import h5py
import pytest


@pytest.fixture
def halved(dataset):
    """A dataset of which a shard's images are half of what they were, with its hash as it should be no more."""
    with h5py.File(dataset / "train" / "00000.h5", "r+") as file:
        file["images"][:] /= 2
    return dataset


@pytest.fixture
def other_recipe(tmp_path):
    """A recipe with the classes and shape of `dataset`, and another kernel."""
    path = tmp_path / "other.toml"
    path.write_text(
        'name = "other"\nshape = [64, 64]\nstandardize = true\n'
        '[[components]]\nname = "fine"\nkernel = "exponential"\nlength_scales = [2, 3]\nweight = 0.75\n'
        '[[components]]\nname = "coarse"\nlength_scales = [8]\nweight = 1.25\n',
        encoding="utf-8",
    )
    return path


def test_a_right_dataset_passes_with_its_table(gptex, dataset):
    result = gptex("verify", dataset, "--stats", "--quiet")
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout.startswith("3 shards, all right\n\n")
    assert "6 textures in 2 classes" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("passed: ")


def test_progress_is_shown_of_both(gptex, dataset):
    found = gptex("verify", dataset, "--stats").stderr
    assert "verify: 6/6" in found
    assert "certify: 6/6" in found


def test_a_bad_shard_is_told_before_any_statistics(gptex, halved):
    result = gptex("verify", halved, "--stats", "--quiet")
    assert result.returncode == 1
    assert "train/00000.h5" in result.stdout
    assert "class" not in result.stdout
    assert "repair" in result.stderr


def test_what_is_not_as_stated_fails_with_exit_code_1(gptex, dataset, other_recipe):
    result = gptex("verify", dataset, "--stats", "--against", other_recipe, "--quiet")
    assert (result.returncode, result.stderr) == (1, "")
    assert "FAILED  band: class" in result.stdout


@pytest.mark.parametrize("wrong", [False, True])
def test_json_is_one_document(gptex, dataset, other_recipe, wrong):
    words = ["--against", other_recipe] if wrong else []
    result = gptex("verify", dataset, "--stats", "--json", "--quiet", *words)
    found = json.loads(result.stdout, parse_constant=lambda constant: pytest.fail(f"{constant} is no JSON"))
    assert result.returncode == int(wrong)
    assert found["passed"] is not wrong
    assert found["problems"] == []  # of the shards
    assert found["problems"] == []
    assert found["statistics"]["passed"] is not wrong
    assert [report["textures"] for report in found["statistics"]["classes"]] == [3, 3]


def test_json_of_a_bad_shard_has_no_statistics(gptex, halved):
    result = gptex("verify", halved, "--stats", "--json", "--quiet")
    found = json.loads(result.stdout)
    assert (result.returncode, found["passed"], found["statistics"]) == (1, False, None)


def test_a_limit_and_another_rate(done, dataset):
    text = done("verify", dataset, "--stats", "--limit", "1", "--false-alarm", "0.01", "--quiet")
    assert "2 textures in 2 classes" in text
    assert "once in 100\n" in text


@pytest.mark.parametrize("words", [["--limit", "3"], ["--false-alarm", "0.01"], ["--against", "golkar-cranmer-2018"]])
def test_options_of_statistics_need_stats(refused, dataset, words):
    assert f"{words[0]} goes with --stats" in refused("verify", dataset, *words, code=2)


@pytest.mark.parametrize("limit", ["0", "-1", "some"])
def test_a_wrong_limit_is_a_wrong_usage(refused, dataset, limit):
    assert "--limit" in refused("verify", dataset, "--stats", "--limit", limit, code=2)


@pytest.mark.parametrize(("rate", "code"), [("0", 2), ("1", 2), ("-0.1", 2), ("nan", 1)])
def test_a_rate_that_is_none_is_refused(refused, dataset, rate, code):
    assert "false-alarm" in refused("verify", dataset, "--stats", "--false-alarm", rate, "--quiet", code=code)


def test_a_preset_of_other_shape_is_refused(gptex, dataset):
    result = gptex("verify", dataset, "--stats", "--against", "golkar-cranmer-2018", "--quiet")
    assert result.returncode == 1
    assert "another shape or other classes" in result.stderr
