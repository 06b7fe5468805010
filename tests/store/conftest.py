"""A small dataset to copy and damage, and the places that are hard to come by: a read-only folder, a small disk.

The recipe has two classes of 64 x 64 pixels in two splits; a shard takes up to 5 textures, so `train` has 3 and `val` 1.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptex import Component, Recipe, generate


@pytest.fixture(scope="session")
def recipe() -> Recipe:
    fine = Component(name="fine", length_scales=[2, 3.5], weight=0.75)
    coarse = Component(name="coarse", length_scales=[9], weight=1.25, boundary="open")
    splits = {"train": 6, "val": 2}
    return Recipe(name="small", shape=[64, 64], components=[fine, coarse], standardize=True, splits=splits)


@pytest.fixture(scope="session")
def shard_size(recipe: Recipe) -> int:
    return 5 * recipe.texture_bytes


@pytest.fixture(scope="session")
def original(recipe: Recipe, shard_size: int, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The dataset that tests compare with and copy; not to be changed."""
    folder = tmp_path_factory.mktemp("original")
    generate(recipe, folder, executor=ThreadPoolExecutor(1), shard_size=shard_size, progress=False)
    return folder


@pytest.fixture
def dataset(original: Path, tmp_path: Path) -> Path:
    """A copy to change."""
    return shutil.copytree(original, tmp_path / "dataset")


@pytest.fixture
def here() -> Iterator[ThreadPoolExecutor]:
    """An executor that starts in no time."""
    with ThreadPoolExecutor(1) as threads:
        yield threads


@pytest.fixture(scope="session")
def contents() -> Callable[[Path], dict[str, str]]:
    """What lies in a folder, by its path: the SHA-256 of each file, the word "folder", and where a symbolic link leads."""

    def what(path: Path) -> str:
        if path.is_symlink():
            return f"link to {path.readlink()}"
        return "folder" if path.is_dir() else hashlib.sha256(path.read_bytes()).hexdigest()

    return lambda folder: {str(path.relative_to(folder)): what(path) for path in sorted(folder.rglob("*"))}


@pytest.fixture(scope="session")
def is_whole() -> Callable[[Path], bool]:
    """Whether the arrays of the shard at a path have the hash that stands beside them, worked out anew."""

    def check(path: Path) -> bool:
        digest = hashlib.sha256()
        with h5py.File(path, "r", locking=False) as file:
            for name in ("images", "labels", "length_scales", "index"):
                digest.update(np.ascontiguousarray(file[name][()]).tobytes())
            return digest.hexdigest() == file.attrs["arrays_sha256"]

    return check


@pytest.fixture(scope="session")
def gptex() -> str:
    """The console script beside this interpreter."""
    return str(Path(sys.executable).with_name("gptex"))


@pytest.fixture
def run_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Run a program as a user's script, outside this checkout."""

    def run(program: str, *arguments: object, **options: object) -> subprocess.CompletedProcess[str]:
        script = tmp_path / "script.py"
        script.write_text(program, encoding="utf-8")
        command = [sys.executable, str(script), *map(str, arguments)]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path, **options)

    return run


@pytest.fixture
def mount() -> Iterator[Callable[..., None]]:
    """Mount something for the time of a test, which is skipped where that is not allowed."""
    mounted = []

    def make(*arguments: object) -> None:
        done = subprocess.run(["mount", *map(str, arguments)], check=False, capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"may not mount here: {done.stderr.strip()}")
        mounted.append(arguments[-1])

    yield make
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def read_only(mount: Callable[..., None]) -> Iterator[Callable[[Path], None]]:
    """Make a folder read-only: by its permissions, or for root, who is above them, by a mount."""
    protected = []

    def protect(folder: Path) -> None:
        if os.geteuid() == 0:
            mount("--bind", "-o", "ro", folder, folder)
            return
        protected.extend([folder, *(path for path in folder.rglob("*") if path.is_dir())])
        for path in protected:
            path.chmod(0o555)

    yield protect
    for path in protected:
        path.chmod(0o755)


@pytest.fixture
def small_disk(mount: Callable[..., None], tmp_path: Path) -> Callable[[int], Path]:
    """An empty file system of so many bytes."""

    def make(size: int) -> Path:
        folder = tmp_path / "small disk"
        folder.mkdir()
        mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder)
        return folder

    return make
