"""Hugging Face's `load_dataset` finds the splits of a dataset folder by its data card, and their rows."""

from __future__ import annotations

import subprocess
import sys

import pytest

from gptex import Component, Recipe, generate

SCRIPT = """
import sys
import datasets

loaded = datasets.load_dataset(sys.argv[1], cache_dir=sys.argv[2])
print({split: (len(rows), rows["labels"][:4]) for split, rows in loaded.items()})
"""


def test_splits_and_rows_are_found(tmp_path):
    pytest.importorskip("datasets", reason="needs Hugging Face datasets")
    only = Component(name="only", length_scales=[2, 3])
    recipe = Recipe(name="small", shape=[16, 16], components=[only], splits={"train": 3, "test": 2})
    generate(recipe, tmp_path / "textures", workers=1, progress=False)
    command = [sys.executable, "-c", SCRIPT, tmp_path / "textures", tmp_path / "cache"]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"HF_HUB_OFFLINE": "1", "HOME": str(tmp_path)}
    )
    assert done.stdout.strip() == "{'train': (6, [0, 1, 0, 1]), 'test': (4, [0, 1, 0, 1])}", done.stderr
