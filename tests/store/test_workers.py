"""The worker pool is an executor that works from any program, keeps its workers to one thread, and takes them with it.

What is submitted must be found by a worker, so these tests submit functions of the standard library, `eval` among them.
"""

import math
import operator
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError, Executor, as_completed
from pathlib import Path
from typing import Any

import pytest
from threadpoolctl import threadpool_info

from gptex import GptexError, RecipeError, preset
from gptex.store import WorkerPool
from gptex.store.workers import BOOT

PROGRAM = """
import sys, gptex
print("begins")
component = gptex.Component(name="field", length_scales=[2, 3])
recipe = gptex.Recipe(name="r", shape=[16, 16], components=[component], splits={"train": 2})
print(gptex.generate(recipe, sys.argv[1], workers=2, shard_size=1, progress=False).textures)
"""


@pytest.fixture(scope="module")
def pool() -> Iterator[WorkerPool]:
    """Of one worker, so that each call meets what the one before left behind."""
    with WorkerPool(1) as pool:
        yield pool


def ends(pid: int, seconds: float = 2) -> bool:
    """Whether a process ends within so many seconds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        stat = Path(f"/proc/{pid}/stat")  # a zombie has ended, however late init collects it
        if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


# -- an executor


def test_results_come_back(pool: WorkerPool) -> None:
    assert isinstance(pool, Executor)
    futures = {pool.submit(math.factorial, n): n for n in range(8)}
    assert {futures[future]: future.result() for future in as_completed(futures)} == {n: math.factorial(n) for n in range(8)}
    assert list(pool.map(operator.mul, range(5), range(5))) == [0, 1, 4, 9, 16]
    assert pool.submit(sorted, "badc", reverse=True).result() == ["d", "c", "b", "a"]


def test_work_is_done_in_as_many_other_processes_as_asked_for() -> None:
    with WorkerPool(2) as pool:
        pids = {future.result() for future in [pool.submit(os.getpid), pool.submit(os.getpid)]}
        assert len(pids) == 2
        assert os.getpid() not in pids
        assert set(pool.map(eval, ["__import__('os').getpid()"] * 6)) <= pids


def test_large_arguments_and_results_pass(pool: WorkerPool) -> None:
    assert pool.submit(bytes.upper, b"a" * 5_000_000).result() == b"A" * 5_000_000


def test_errors_come_back_with_their_type_and_the_pool_goes_on(pool: WorkerPool) -> None:
    with pytest.raises(ZeroDivisionError):
        pool.submit(operator.truediv, 1, 0).result()
    with pytest.raises(RecipeError, match="there is no preset 'nope'"):
        pool.submit(preset, "nope").result()
    with pytest.raises(FileNotFoundError, match="nowhere") as error:
        pool.submit(os.stat, "nowhere").result()
    assert error.value.errno == 2
    assert pool.submit(math.factorial, 5).result() == 120


@pytest.mark.parametrize("size", [10, 1_000_000])
def test_arguments_that_cannot_be_sent_are_an_error_and_the_pool_goes_on(size: int, pool: WorkerPool) -> None:
    with pytest.raises(Exception, match="pickle"):
        pool.submit(len, [bytes(size), lambda: 0]).result()
    assert pool.submit(math.factorial, 5).result() == 120


def test_worker_that_dies_is_an_error_that_says_how() -> None:
    with WorkerPool(1) as pool, pytest.raises(GptexError, match=r"ended unexpectedly \(exit code 7\)"):
        pool.submit(os._exit, 7).result()
    with WorkerPool(1) as pool, pytest.raises(GptexError, match=r"ended unexpectedly \(signal 6, Aborted\)"):
        pool.submit(os.abort).result()


# -- its end


def test_shutdown_lets_the_work_finish_and_ends_the_workers() -> None:
    pool = WorkerPool(1)
    pid, last = pool.submit(os.getpid), pool.submit(eval, "__import__('time').sleep(0.2) or 'done'")
    pool.shutdown()
    assert last.result(timeout=0) == "done"
    assert ends(pid.result())
    with pytest.raises(RuntimeError, match="shutdown"):
        pool.submit(os.getpid)


def test_shutdown_without_waiting_still_lets_the_work_finish() -> None:
    pool = WorkerPool(1)
    pid = pool.submit(os.getpid).result()
    last = pool.submit(eval, "__import__('time').sleep(0.5) or 'done'")
    start = time.monotonic()
    pool.shutdown(wait=False)
    assert time.monotonic() - start < 0.3
    assert last.result(timeout=5) == "done"
    assert ends(pid)


def test_kill_ends_the_workers_in_the_middle_of_their_work() -> None:
    pool = WorkerPool(2)
    pids = [future.result() for future in [pool.submit(os.getpid), pool.submit(os.getpid)]]
    asleep = [pool.submit(time.sleep, 60) for _ in range(4)]
    while not asleep[1].running():
        time.sleep(0.01)
    start = time.monotonic()
    pool.kill()
    assert time.monotonic() - start < 2
    assert all(ends(pid) for pid in pids)
    for future in asleep[:2]:
        with pytest.raises(GptexError, match=r"signal 9"):
            future.result(timeout=1)
    for future in asleep[2:]:
        with pytest.raises(CancelledError):
            future.result(timeout=1)


def test_workers_go_with_a_killed_parent_in_the_middle_of_their_work() -> None:
    program = """
import os, time
from gptex.store import WorkerPool
pool = WorkerPool(1)
print(pool.submit(os.getpid).result(), flush=True)
pool.submit(time.sleep, 60).result()
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as parent:
        pid = int(parent.stdout.readline())  # type: ignore[union-attr]
        parent.kill()
    assert ends(pid)


@pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGHUP], ids=["SIGKILL", "SIGHUP"])
@pytest.mark.parametrize("seconds", [0.1, 60], ids=["that answers", "that does not"])
def test_workers_of_a_killed_parent_go_without_a_word(number: int, seconds: float) -> None:
    """Whether their answer finds nobody or they are in the middle of something."""
    program = f"""
import os, time
from gptex.store import WorkerPool
pool = WorkerPool(2)
pids = [pool.submit(os.getpid) for _ in range(2)]
print(*[pid.result() for pid in pids], flush=True)
work = [pool.submit(time.sleep, {seconds}) for _ in range(2)]
print("begins", flush=True)
while True:
    time.sleep(1)
"""
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]  # type: ignore[union-attr]
        parent.stdout.readline()  # type: ignore[union-attr]
        parent.send_signal(number)
        assert all(ends(pid) for pid in pids)
        assert parent.stderr.read() == ""  # type: ignore[union-attr]


def test_worker_whose_parent_goes_while_it_starts_goes_without_a_word() -> None:
    done = subprocess.run([sys.executable, "-c", BOOT], check=False, input=b"", capture_output=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


@pytest.mark.parametrize("executable", ["", None, "/nowhere/python"])
def test_interpreter_that_is_not_known_is_one_clear_error(executable: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with WorkerPool(1) as pool, pytest.raises(GptexError, match=r"cannot start .*executor"):
        pool.submit(os.getpid).result()


def test_pool_that_was_never_used_ends() -> None:
    with WorkerPool(4) as pool:
        assert not pool._processes
    WorkerPool(4).kill()
    with pytest.raises(RuntimeError, match="after shutdown"):
        pool.submit(os.getpid)


# -- what a worker is like


def test_worker_has_one_blas_thread_whatever_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.setenv(name, "2")
    with WorkerPool(1) as pool:
        pool.submit(preset, "golkar-cranmer-2018").result().texture("train", 0)
        libraries = [library for library in pool.submit(threadpool_info).result() if library["user_api"] == "blas"]
    assert libraries
    assert [library["num_threads"] for library in libraries] == [1] * len(libraries)


def test_printing_in_a_worker_goes_to_stderr_and_breaks_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    with WorkerPool(1) as pool:
        assert pool.submit(print, "from Python", flush=True).result(timeout=20) is None
        assert pool.submit(os.write, 1, b"from C\n").result(timeout=20) == 7
        assert pool.submit(math.factorial, 5).result(timeout=20) == 120
    assert capfd.readouterr() == ("", "from Python\nfrom C\n")


@pytest.mark.skipif(sys.platform == "win32", reason="process groups as POSIX has them")
def test_ctrl_c_does_not_reach_a_worker_not_even_one_that_starts(run_python: Callable[..., Any]) -> None:
    """A terminal sends it to the whole process group; the parent decides what becomes of its workers."""
    program = """
import os, signal, time
from gptex.store import WorkerPool
signal.signal(signal.SIGINT, lambda *_: None)
with WorkerPool(1) as pool:
    result = pool.submit(abs, -3)
    for _ in range(50):
        os.killpg(0, signal.SIGINT)
        time.sleep(0.01)
    result.result()
    os.killpg(0, signal.SIGINT)
    print(pool.submit(abs, -4).result())
"""
    done = run_python(program, start_new_session=True)
    assert (done.stdout, done.stderr) == ("4\n", "")


# -- from any program


def test_script_without_a_main_guard_works(run_python: Callable[..., Any], tmp_path: Path) -> None:
    done = run_python(PROGRAM, tmp_path / "out")
    assert (done.stdout, done.stderr) == ("begins\n4\n", "")


@pytest.mark.parametrize("how", ["-c", "-"])
def test_program_that_is_no_file_works(how: str, tmp_path: Path) -> None:
    command = [sys.executable, "-c", PROGRAM] if how == "-c" else [sys.executable, "-"]
    done = subprocess.run(
        [*command, tmp_path / "out"], check=False, input=PROGRAM, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert (done.stdout, done.stderr) == ("begins\n4\n", "")


def test_functions_of_a_module_beside_the_script_can_be_submitted(run_python: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text("def double(x):\n    return 2 * x\n")
    program = """
import gptex.store, mine
with gptex.store.WorkerPool(1) as pool:
    print(pool.submit(mine.double, 4).result())
"""
    done = run_python(program)
    assert (done.stdout, done.stderr) == ("8\n", "")


def test_files_in_the_current_folder_do_not_get_in_the_way(gptex: str, tmp_path: Path) -> None:
    """The console script does not look for modules in the current folder, so its workers must not either."""
    for name in ("pickle", "signal", "threading", "numpy", "gptex"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not for you')")
    command = [gptex, "generate", "out", "--size", "16", "--scales", "2,3", "--per-class", "1", "--quiet"]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
