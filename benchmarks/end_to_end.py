"""`gptex.generate` against h5py alone writing and syncing as many images; and two workers against one, in memory."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from statistics import median

import h5py
import numpy as np

import gptex
from benchmarks.timing import seconds

PER_SHARD = 64


def h5py_alone(folder: Path, textures: int) -> None:
    """Write as many images as shards of the same size and sync each, one process, nothing computed."""
    images = np.random.default_rng(0).standard_normal((PER_SHARD, 1024, 1024), dtype=np.float32)
    for number in range(textures // PER_SHARD):
        path = folder / f"{number}.h5"
        with h5py.File(path, "w") as file:
            dataset = file.create_dataset("images", images.shape, images.dtype)
            for row, image in enumerate(images):
                dataset[row] = image
        with path.open("rb+") as file:
            os.fsync(file.fileno())


def compare(place: Path, textures: int, rounds: int, with_h5py: bool) -> None:
    """Print the times of both, in turn, in new folders under `place`."""
    recipe = gptex.preset("golkar-cranmer-2018").replace(splits={"train": textures // 4})
    size = textures * recipe.texture_bytes / 1e6
    calls = {
        "gptex.generate, 2 workers": lambda folder: gptex.generate(recipe, folder, workers=2, progress=False),
        "gptex.generate, 1 worker": lambda folder: gptex.generate(recipe, folder, workers=1, progress=False),
    }
    if with_h5py:
        calls = {"h5py alone": lambda folder: h5py_alone(folder, textures), **calls}
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            folder = Path(tempfile.mkdtemp(dir=place))
            try:
                elapsed = seconds(lambda call=call, folder=folder: call(folder))
            finally:
                shutil.rmtree(folder)
            if number or rounds == 1:
                times[name].append(elapsed)
    base = median(times[next(iter(times))])
    print(f"{place}, {textures} textures:")
    for name, values in times.items():
        print(f"  {name:<26} {size / median(values):6.0f} MB/s   {base / median(values):.2f} x the rate of the first")


def main() -> None:
    """A real disk (the folder this runs in, or the one in BENCH_DISK) with little and much data, and /dev/shm."""
    disk = Path(os.environ.get("BENCH_DISK", "."))
    compare(disk, 256, 3, with_h5py=True)
    compare(disk, 2048, 1, with_h5py=True)
    if sys.platform == "linux":
        compare(Path("/dev/shm"), 512, 3, with_h5py=False)
