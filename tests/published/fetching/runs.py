"""Runs of `gptex`, and what they leave."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

COMMAND = Path(sys.executable).with_name("gptex")
ARCHIVE = "data.zip"
CHUNK = 2**14  # bytes; so much is written at a time
PART = 18 * CHUNK
SHARDS = [f"train/{number:05d}.h5" for number in range(6)]


def names(folder):
    """All that lies in a folder, also what is hidden."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def hashes(folder):
    """What lies in a folder, but for locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".fetch"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images_in(folder):
    """The images of a dataset in order, by json and h5py."""
    parts = []
    for shard in json.loads((folder / "manifest.json").read_bytes())["shards"]:
        with h5py.File(folder / shard["file"]) as file:
            parts.append(file["images"][()])
    return np.concatenate(parts)


def wait_for(condition, run):
    """Wait until something is so, while a process runs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def started(*arguments):
    """`gptex` with arguments as a process, killed at the end at the latest."""
    with subprocess.Popen([COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def succeed(*arguments):
    """Standard output of `gptex` with arguments."""
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout
