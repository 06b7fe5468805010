"""The options that make a recipe: what they mean, and the name of a dataset that is given none."""

import json

import pytest

TEN = ",".join(f"{scale}.25" for scale in range(1, 11))
COUNT = ["--per-class", "1"]


def made(done, *options):
    """The recipe of a dataset made with these options."""
    done("generate", "out", "--size", "32", *options, "--workers", "1", "--quiet")
    return json.loads(done("info", "out", "--json"))["recipe"]


@pytest.mark.parametrize(
    ("scales", "name"),
    [
        (["1,2.5", "8"], "textures 1,2.5 x 8"),
        ([TEN, "8"], f"textures {TEN} x 8"),
        ([TEN, TEN], "textures 1.25…10.25 x 1.25…10.25"),
        ([str(n % 9 + 1) for n in range(60)], "textures of 60 components"),
    ],
    ids=["short", "long", "too long", "many"],
)
def test_a_dataset_without_a_name_is_named_after_its_length_scales_and_never_at_length(done, scales, name):
    words = [word for each in scales for word in ("--scales", each)]
    assert made(done, *words, *COUNT)["name"] == name
    assert len(name) <= 100


def test_many_length_scales_are_planned_under_the_name_given_or_their_own(done):
    five = ["--scales", TEN] * 5
    for name in ([], ["--name", "ten each"]):
        said = done("plan", "out", "--size", "64", *five, *name, "--split", "train=1", "--boundary", "open", "--workers", "1")
        assert "classes    100000: " in said


def test_a_name_given_is_the_datasets_name(done):
    assert made(done, *["--scales", "2,3"] * 3, "--name", "ℓ of two each", *COUNT)["name"] == "ℓ of two each"


@pytest.mark.parametrize("option", [["--split", "train=" + "9" * 5000], ["--size", "9" * 5000]], ids=["split", "size"])
def test_numbers_of_thousands_of_digits_are_usage_errors(refused, option):
    assert option[0] in refused("generate", "out", "--size", "64", "--scales", "2", *option, code=2)


@pytest.mark.parametrize("command", ["generate", "plan"])
def test_a_misspelt_preset_is_answered_with_the_nearest_one(refused, command):
    assert "did you mean 'golkar-cranmer-2018'?" in refused(command, "out", "--preset", "golkar-cranmer-18")


def test_a_name_that_is_none_is_refused(refused, tmp_path):
    assert "name" in refused("generate", "out", "--size", "64", "--scales", "2", "--name", "", *COUNT)
    assert list(tmp_path.iterdir()) == []
