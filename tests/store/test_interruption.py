"""A run that is stopped, in whatever way and however often, leaves whole shards and no manifest, and the same command ends it.

The runs are real ones of the console script. Their textures are small but take long, so that there is time to stop them.
"""

import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from gptex import Component, Recipe, generate, verify
from gptex.store import Manifest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")

SHARDS = 20
TEXTURES = 8  # in a shard


class Setting(NamedTuple):
    out: Path
    command: list[str]
    hashes: list[str]  # of each shard's arrays after a run that nobody stopped
    gptex: str

    def finished(self) -> list[Path]:
        return sorted(self.out.glob("train/0*.h5"))


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    components = [
        Component(name=f"field {i}", length_scales=[4 + i / 2], kernel="exponential", boundary="open") for i in range(20)
    ]
    slow = Recipe(name="slow", shape=[64, 64], components=components, standardize=True, splits={"train": TEXTURES * SHARDS})
    folder = tmp_path_factory.mktemp("undisturbed")
    generate(slow, folder, executor=ThreadPoolExecutor(2), shard_size=TEXTURES * slow.texture_bytes, progress=False)
    return folder


@pytest.fixture
def setting(undisturbed: Path, gptex: str, tmp_path: Path) -> Setting:
    out = tmp_path / "the données"
    options = [
        "--recipe",
        str(undisturbed / "recipe.toml"),
        "--shard-size",
        str(TEXTURES * 64 * 64 * 4),
        "--workers",
        "2",
        "--quiet",
    ]
    hashes = [shard.arrays_sha256 for shard in Manifest.read(undisturbed).shards]
    return Setting(out, [gptex, "generate", str(out), *options], hashes, gptex)


@contextmanager
def started(setting: Setting) -> Iterator[subprocess.Popen[str]]:
    """The command, running as in a terminal: in a process group of its own."""
    with subprocess.Popen(setting.command, stderr=subprocess.PIPE, text=True, start_new_session=True) as run:
        try:
            yield run
        finally:
            run.kill()


@contextmanager
def under_way(setting: Setting) -> Iterator[subprocess.Popen[str]]:
    """The command, when it has just finished another shard."""
    before = len(setting.finished())
    with started(setting) as run:
        wait_for(lambda: len(setting.finished()) > before or run.poll() is not None)
        assert run.poll() is None, "it ended before it could be stopped"
        yield run


def wait_for(condition: Callable[[], Any], seconds: float = 30) -> Any:
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.005)
    return found


def workers(run: subprocess.Popen[str]) -> list[int]:
    """Process numbers of the children of a run."""
    listed = subprocess.run(["ps", "-o", "pid=", "--ppid", str(run.pid)], check=False, capture_output=True, text=True)
    return [int(pid) for pid in listed.stdout.split()]


def alive(pid: int) -> bool:
    """Whether a process runs; one that is only waiting for its exit code to be read does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return state.strip() != "" and not state.startswith("Z")


def check_unfinished(setting: Setting, is_whole: Callable[[Path], bool]) -> None:
    assert not (setting.out / "manifest.json").exists()
    assert 1 <= len(setting.finished()) < SHARDS
    assert all(is_whole(path) for path in setting.finished())


def check_resumes(setting: Setting, command: list[str] | None = None) -> None:
    before = {path: path.stat().st_mtime_ns for path in setting.finished()}
    done = subprocess.run(command or setting.command, check=False, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [shard.arrays_sha256 for shard in Manifest.read(setting.out).shards] == setting.hashes
    assert verify(setting.out).passed
    hidden = [path.name for path in setting.out.rglob(".*")]
    assert hidden == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_stopped_run_says_how_to_go_on_and_does(
    number: int, code: int, setting: Setting, is_whole: Callable[[Path], bool]
) -> None:
    with under_way(setting) as run:
        pids = workers(run)
        run.send_signal(number)
        _, said = run.communicate(timeout=10)
    assert run.returncode == code
    assert not any(alive(pid) for pid in pids)
    check_unfinished(setting, is_whole)
    message, command = said.strip().split("; to go on: ")
    assert message == "gptex: stopped"
    program, *arguments = shlex.split(command)
    assert program == "gptex"
    check_resumes(setting, [setting.gptex, *arguments])


@pytest.mark.slow
def test_stopped_twice_in_a_row_and_still_resumes(setting: Setting, is_whole: Callable[[Path], bool]) -> None:
    for number in (signal.SIGKILL, signal.SIGTERM):
        with under_way(setting) as run:
            run.send_signal(number)
            run.communicate(timeout=10)
        check_unfinished(setting, is_whole)
    check_resumes(setting)


def test_workers_go_with_a_killed_parent(setting: Setting, is_whole: Callable[[Path], bool]) -> None:
    with under_way(setting) as run:
        pids = workers(run)
        assert len(pids) == 2
        run.kill()
        run.wait()
        wait_for(lambda: not any(alive(pid) for pid in pids), seconds=2)
    check_unfinished(setting, is_whole)
    check_resumes(setting)


def test_killed_parent_can_be_followed_at_once(setting: Setting, is_whole: Callable[[Path], bool]) -> None:
    """While its workers still run on for a moment."""
    with under_way(setting) as run:
        run.kill()
        run.wait()
        check_resumes(setting)


def test_killed_worker_is_one_clear_error(setting: Setting, is_whole: Callable[[Path], bool]) -> None:
    with under_way(setting) as run:
        os.kill(workers(run)[0], signal.SIGKILL)
        _, said = run.communicate(timeout=10)
    assert run.returncode == 1
    assert said == "gptex: a worker process ended unexpectedly (signal 9, Killed)\n"
    check_unfinished(setting, is_whole)
    check_resumes(setting)


def test_ctrl_c_while_the_workers_start_is_quiet(setting: Setting) -> None:
    with started(setting) as run:
        wait_for(lambda: workers(run))
        os.killpg(run.pid, signal.SIGINT)
        _, said = run.communicate(timeout=10)
    assert run.returncode == 130
    assert said.strip().startswith("gptex: stopped; to go on: gptex generate ")
    assert "\n" not in said.strip()


@pytest.mark.parametrize("to_all", [False, True], ids=["the run", "its group"])
def test_signals_that_come_together_are_one_stop(to_all: bool, setting: Setting, is_whole: Callable[[Path], bool]) -> None:
    """As when a system goes down, or a batch job's time is over."""
    with under_way(setting) as run:
        pids = workers(run)
        for number in 3 * (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            (os.killpg if to_all and number != signal.SIGTERM else os.kill)(run.pid, number)
        _, said = run.communicate(timeout=10)
    assert run.returncode in (129, 130, 143)
    assert said.strip().startswith("gptex: stopped; to go on: ")
    assert "\n" not in said.strip()
    assert not any(alive(pid) for pid in pids)
    check_unfinished(setting, is_whole)


def test_run_goes_on_where_a_hangup_is_ignored(setting: Setting) -> None:
    """As with nohup."""
    with under_way(setting._replace(command=["nohup", *setting.command])) as run:
        os.killpg(run.pid, signal.SIGHUP)
        _, said = run.communicate(timeout=60)
    assert (run.returncode, said.removeprefix("nohup: ignoring input\n")) == (0, "")
    assert verify(setting.out).passed


def test_impatient_ctrl_c_ends_the_run_too(setting: Setting) -> None:
    with under_way(setting) as run:
        pids = workers(run)
        for _ in range(3):
            os.killpg(run.pid, signal.SIGINT)
            time.sleep(0.02)
        run.communicate(timeout=10)
        wait_for(lambda: not any(alive(pid) for pid in pids), seconds=2)
    check_resumes(setting)
