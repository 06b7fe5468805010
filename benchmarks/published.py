"""`gptex.import_legacy` of a pickle of the published size against a plain copy of the same bytes, both down to the disk."""

from __future__ import annotations

import os
import pickle
import shutil
import tempfile
from pathlib import Path
from statistics import median

import numpy as np

import gptex
from benchmarks.timing import seconds

ROUNDS = 5


def write_pickle(path: Path) -> None:
    """100 images of 1024² float32 in four classes, as pickle protocol 3 has them: 419 MB."""
    base = np.random.default_rng(0).standard_normal((1024, 1024), dtype=np.float32)
    pairs = [[np.roll(base, number), number % 4] for number in range(100)]
    with path.open("wb") as file:
        pickle.dump([pairs, {0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"}], file, 3)


def copy(path: Path, to: Path) -> None:
    """Copy the file and sync the copy."""
    to.mkdir()
    shutil.copyfile(path, to / "copy.gp")
    with (to / "copy.gp").open("rb+") as file:
        os.fsync(file.fileno())


def main() -> None:
    """Print the medians of both, taken in turn, in the folder this runs in or the one in BENCH_DISK."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DISK", ".")) as folder:
        path, out = Path(folder, "published.gp"), Path(folder, "out")
        write_pickle(path)
        size = path.stat().st_size / 1e6
        calls = {
            "shutil.copyfile and fsync": lambda: copy(path, out),
            "gptex.import_legacy": lambda: gptex.import_legacy(path, out, progress=False),
        }
        times: dict[str, list[float]] = {name: [] for name in calls}
        for number in range(ROUNDS + 1):  # the first one to warm up
            for name, call in calls.items():
                elapsed = seconds(call)
                shutil.rmtree(out)
                if number:
                    times[name].append(elapsed)
        base = median(times["shutil.copyfile and fsync"])
        print(f"{size:.0f} MB, load {os.getloadavg()[0]:.1f}:")
        for name, values in times.items():
            took = median(values)
            spread = f"{min(values):.2f} to {max(values):.2f} s"
            print(f"  {name:<26} {took:.2f} s ({spread})  {size / took:6.0f} MB/s   {base / took:.2f} x the rate of the copy")
