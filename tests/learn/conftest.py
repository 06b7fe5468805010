"""Datasets to learn from: one with two components in small shards, and what h5py alone reads of it."""

import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptex import Component, Recipe, generate


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    """Four classes of 24 x 17 pixels; 40 textures in `train`, 8 in `val`."""
    fine = Component(name="fine", length_scales=[1, 1.5], kernel="matern", weight=0.5)
    coarse = Component(name="coarse", length_scales=[5, 8], boundary="open")
    splits = {"train": 10, "val": 2}
    return Recipe(name="small", shape=[24, 17], components=[fine, coarse], standardize=True, splits=splits)


@pytest.fixture(scope="session")
def folder(recipe: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset in shards of five textures, eight in `train`; not to be changed."""
    made = tmp_path_factory.mktemp("learn") / "small"
    generate(recipe, made, executor=ThreadPoolExecutor(1), shard_size=5 * recipe.texture_bytes, progress=False)
    return made


@pytest.fixture(scope="session")
def arrays(folder: Path) -> list[np.ndarray]:
    """Images, labels and length scales of `train`, its shards read one after the other by h5py alone."""
    files = [h5py.File(path, "r") for path in sorted((folder / "train").glob("*.h5"))]
    return [np.concatenate([file[name][()] for file in files]) for name in ("images", "labels", "length_scales")]


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program as a user's script, outside this checkout."""

    def run(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(program, encoding="utf-8")
        command = [sys.executable, str(script), *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=120, cwd=tmp_path)

    return run
