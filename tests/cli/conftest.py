"""The command as its users run it: the installed script, in a folder of its own."""

import ctypes
import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).with_name("gptex")
RECIPE = ["--size", "64", "--scales", "2,3", "--scales", "8", "--weights", "0.75,1.25", "--seed", "7"]
STORAGE = ["--shard-size", "32KiB", "--workers", "1"]  # two textures a shard
ABOVE_PERMISSIONS = (1, 2)  # CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH
PR_CAPBSET_DROP = 24


def run(*arguments, **options):
    command = [COMMAND, *map(str, arguments)]
    options = {"stdin": subprocess.DEVNULL, "capture_output": True, "encoding": "utf-8", "timeout": 60, **options}
    return subprocess.run(command, check=False, **options)


def arguments(train=2, test=1, **more):
    """Arguments that make small textures of two classes, with counts per class."""
    counts = {"train": train, "test": test, **more}
    return [*RECIPE, *STORAGE, *(word for split, n in counts.items() for word in ("--split", f"{split}={n}"))]


@pytest.fixture(scope="session")
def command():
    """Path of the installed script."""
    return COMMAND


@pytest.fixture
def gptex(tmp_path):
    """Runs `gptex` with arguments in an empty folder and returns the completed process."""
    return lambda *arguments, **options: run(*arguments, **{"cwd": tmp_path, **options})


@pytest.fixture
def done(gptex):
    """Runs `gptex`, which must succeed, and returns its standard output."""

    def succeed(*arguments, **options):
        result = gptex(*arguments, **options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return succeed


@pytest.fixture
def refused(gptex):
    """Runs `gptex`, which must end in one clear line with exit code `code`, and returns that line."""

    def fail(*arguments, code=1, **options):
        result = gptex(*arguments, **options)
        lines = result.stderr.splitlines()
        assert "Traceback" not in result.stderr, result.stderr
        assert result.returncode == code, result.stderr
        assert result.stdout == ""
        if code == 1:
            assert len(lines) == 1, lines
            assert lines[0].startswith("gptex: ")
            return lines[0]
        assert lines[-1].startswith("Error: ")
        assert all(line.startswith(("Usage: gptex", "Try 'gptex")) or not line for line in lines[:-1]), lines
        return lines[-1]

    return fail


@pytest.fixture(scope="session")
def original(tmp_path_factory):
    """A dataset of three shards and two splits, not to be changed."""
    folder = tmp_path_factory.mktemp("datasets") / "textures"
    run("generate", folder, *arguments(), "--quiet").check_returncode()
    return folder


@pytest.fixture
def small():
    """Makes arguments; without counts those of the dataset `original`."""
    return arguments


@pytest.fixture
def dataset(original, tmp_path):
    """A copy of `original` to do anything to, in a folder with an awkward name."""
    return Path(shutil.copytree(original, tmp_path / "größe ℓ, 64 pixels"))


@pytest.fixture
def contents():
    """Hashes of all files below a folder, by name: what "nothing lost" is checked with."""

    def hashes(folder):
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}

    return hashes


@pytest.fixture
def obey_permissions():
    """Options for a run that can do no more than modes allow, also when the tests run as root (as in a container)."""
    if sys.platform == "win32":
        pytest.skip("modes of folders are POSIX's")
    if os.geteuid() != 0:
        return {}
    if sys.platform != "linux":
        pytest.skip("root can write everywhere")
    libc = ctypes.CDLL(None)
    return {"preexec_fn": lambda: [libc.prctl(PR_CAPBSET_DROP, capability) for capability in ABOVE_PERMISSIONS]}
