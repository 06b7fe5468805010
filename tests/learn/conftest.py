"""Datasets to learn from, what h5py alone reads of them, and small runs of training."""

import csv
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptex import Component, Recipe, generate
from gptex.learn import Result, train

QUICK: dict[str, Any] = {"model": "tiny", "epochs": 3, "batch_size": 4, "lr": 0.01, "device": "cpu"}
QUIET = {"plots": False, "reference": False, "progress": False}


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


@pytest.fixture(scope="session")
def easy() -> Recipe:
    """Four classes of 64 x 64 pixels that differ much; 40 textures in `train`, 12 in `val`, 20 in `test`."""
    components = [Component(name="fine", length_scales=[1, 3]), Component(name="coarse", length_scales=[6, 14])]
    splits = {"train": 10, "val": 3, "test": 5}
    return Recipe(name="easy", shape=[64, 64], components=components, standardize=True, splits=splits)


@pytest.fixture(scope="session")
def easy_folder(easy: Recipe, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Its textures on disk, all of a split in one shard, as a recipe's are; not to be changed."""
    made = tmp_path_factory.mktemp("easy") / "easy"
    generate(easy, made, executor=ThreadPoolExecutor(1), progress=False)
    return made


@pytest.fixture(scope="session")
def quick() -> dict[str, Any]:
    """Options of a run that takes less than a second."""
    return {**QUICK, **QUIET}


@pytest.fixture
def fit(tmp_path: Path) -> Callable[..., Result]:
    """Train quickly, with these options instead of the usual ones, into a folder of this name."""

    def run(source: Recipe | Path, name: str = "run", **options: Any) -> Result:
        usual = {key: value for key, value in QUICK.items() if key != "model" or "net" not in options}
        return train(source, tmp_path / name, **{**usual, **QUIET, **options})

    return run


@pytest.fixture(scope="session")
def metrics() -> Callable[[Path], list[dict[str, str]]]:
    """Read the rows of a run's metrics, as they are written, without the seconds."""

    def read(folder: Path) -> list[dict[str, str]]:
        with (folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert all(float(row.pop("seconds")) > 0 for row in rows)
        return rows

    return read
