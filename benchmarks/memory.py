"""Peak memory of a worker beyond an idle one, in textures, whatever the shard size and the number of length scales."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import gptex
from benchmarks.texture import two_scales
from gptex.store.shard import ShardPlan, write_shard
from gptex.store.workers import KEEP_MEMORY, ONE_THREAD

RECIPES = {
    "the paper's recipe": lambda: gptex.preset("golkar-cranmer-2018"),
    "Matern 3/2, both periodic": lambda: two_scales(boundary="periodic", kernel="matern", nu=1.5),
    "Matern 3/2, 8 x 8 scales": lambda: matern(1024, range(5, 13), range(50, 90, 5)),
    "Matern 3/2, 8 scales, 2048²": lambda: matern(2048, range(5, 45, 5)),
    "Matern 3/2, 32 scales, 2048²": lambda: matern(2048, range(5, 101, 3)),
}


def matern(size: int, *scales: range) -> gptex.Recipe:
    """A component of periodic fields for each range of length scales."""
    components = [
        gptex.Component(name=str(number), kernel="matern", nu=1.5, length_scales=each) for number, each in enumerate(scales)
    ]
    return gptex.Recipe(name="many scales", shape=[size, size], components=components)


def peak() -> int:
    """Largest resident size of this process so far, in bytes (Linux; getrusage counts what came before exec too)."""
    return int(re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def measure(name: str, count: int) -> None:
    """In a process of its own: write a tiny shard so that everything is imported, then a real one."""
    recipe = RECIPES[name]()
    small = [component.replace(length_scales=[5]) for component in recipe.components]
    tiny = recipe.replace(shape=[64, 64], components=small)
    with tempfile.TemporaryDirectory() as folder:
        write_shard(folder, tiny.to_json(), ShardPlan("train/00000.h5", "train", 0, 2))
        idle = peak()
        start = time.perf_counter()
        write_shard(folder, recipe.to_json(), ShardPlan("train/00001.h5", "train", 0, count))
        took = (time.perf_counter() - start) / count
        more = (peak() - idle) / recipe.texture_bytes
        print(
            f"{name}, {count:3} textures a shard: idle {idle / 1e6:.0f} MB, at most {more:.1f} textures more, "
            f"{1e3 * took:.0f} ms a texture"
        )


def main() -> None:
    """Print a line for each recipe and shard size."""
    for name in RECIPES:
        for count in (8, 64):
            code = f"from benchmarks.memory import measure; measure({name!r}, {count})"
            subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **KEEP_MEMORY, **ONE_THREAD})
