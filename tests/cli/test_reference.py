"""`gptex reference`, and the noise that `gptex plan` finds."""

from __future__ import annotations

import json

import pytest

from gptex import Component, Recipe, oracle
from gptex.trust import noise_for


@pytest.fixture
def recipe(tmp_path):
    """A recipe that is hard to read, and its file."""
    only = Component(name="only", length_scales=[0.8, 1.2])
    found = Recipe(name="hard", shape=[16, 16], components=[only], noise_std=1.0)
    (tmp_path / "recipe.toml").write_text(found.to_toml(), encoding="utf-8")
    return found


def test_the_command_says_it_in_words_and_in_json(recipe, done):
    words = done("reference", "recipe.toml", "--textures", "50", "--quiet")
    found = json.loads(done("reference", "recipe.toml", "--textures", "50", "--quiet", "--json"))
    assert found["accuracy"] == oracle(recipe, textures=50, progress=False).accuracy < 1
    assert f"Bayes-optimal accuracy {found['accuracy']:.3f}" in words


def test_plan_finds_the_noise_and_writes_nothing(recipe, done, tmp_path):
    out = done("plan", "out", "--recipe", "recipe.toml", "--per-class", "2", "--accuracy", "0.8", "--quiet")
    (line,) = [line for line in out.splitlines() if line.startswith("noise")]
    assert float(line.split("--noise-std ")[1].split()[0]) == noise_for(recipe, 0.8, progress=False)[0]
    assert not (tmp_path / "out").exists()
