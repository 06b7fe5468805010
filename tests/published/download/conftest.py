"""Downloads from the server, in this process and in others."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from gptex.errors import DatasetError
from gptex.published.download import download

from .data import DATA, PATH, md5


@pytest.fixture
def target(tmp_path):
    """Where the file goes: a folder that is not there yet."""
    return tmp_path / "cache" / "data.zip"


@pytest.fixture
def fetch(server, target):
    """A function that brings the file of the server with short waits, and gives its bytes."""
    server.files[PATH] = DATA

    def run(*, path=PATH, data=DATA, timeout=0.5, pause=0.01, progress=False, **options):
        where = download(server.url(path), target, md5(data), timeout=timeout, pause=pause, progress=progress, **options)
        assert where == target
        return target.read_bytes()

    return run


@pytest.fixture
def refusal(fetch, target):
    """A function that gives the one line in which the server's file is refused."""

    def run(**options):
        with pytest.raises(DatasetError) as error:
            fetch(**options)
        assert "\n" not in str(error.value)
        assert not target.exists()
        return str(error.value)

    return run


CHILD = """
import sys
from pathlib import Path
import pooch, requests
from gptex.errors import DatasetError
from gptex.published.download import download

url, target, known_hash, timeout = sys.argv[1:]
print("ready", flush=True)
exec(sys.stdin.readline())
try:
    download(url, Path(target), known_hash, progress=False, timeout=float(timeout), pause=0.01)
    print("whole")
except DatasetError as error:
    sys.exit(str(error))
"""


@pytest.fixture
def child(server, target):
    """A function that has such a download begin in a process of its own, after a line of Python."""
    children = []

    def start(line="", data=DATA, timeout=30.0):
        command = [sys.executable, "-c", CHILD, server.url(PATH), str(target), md5(data), str(timeout)]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        children.append(process)
        assert process.stdout.readline() == "ready\n"
        process.stdin.write(line + "\n")
        process.stdin.flush()
        return process

    yield start
    for process in children:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
