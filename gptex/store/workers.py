"""Worker processes as a `concurrent.futures.Executor`, for people who have none of their own.

A worker is a new Python process that reads pickled calls from its standard input and writes their results to its standard
output. Unlike `multiprocessing`, which starts the user's own program again in each worker, this works the same from a
script without a ``__main__`` guard, from a notebook, and on every system; a worker whose parent is gone goes too.
"""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from typing import IO, Any, ParamSpec, TypeVar, cast

from gptex.errors import GptexError

P = ParamSpec("P")
T = TypeVar("T")

BOOT = """
import pickle, sys
try:
    sys.path[:] = pickle.load(sys.stdin.buffer)
except EOFError:  # the parent has gone already
    sys.exit()
try:
    from gptex.store.workers import serve
except (OSError, ImportError, MemoryError) as error:
    sys.exit(f"gptex: a worker cannot start: {error}")
serve()
"""
STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP") if hasattr(signal, name)]  # that a terminal sends to all
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"), "1")
# glibc would give a texture's memory back to the system and ask for it again at the next one, a tenth of the time and more.
KEEP_MEMORY = {"MALLOC_TRIM_THRESHOLD_": str(2**26), "MALLOC_MMAP_THRESHOLD_": str(2**25)}  # the latter at its largest


def available_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def workers_for(tasks: int, workers: int | None = None) -> int:
    """How many workers so many tasks get, where the user wants `workers`, or one for each core."""
    return max(1, min(workers or available_cores(), tasks))


class WorkerPool(Executor):
    """At most `workers` processes, each of one thread; `kill` ends them at once."""

    def __init__(self, workers: int) -> None:
        self._threads = ThreadPoolExecutor(workers)  # one waits for each process
        self._mine = threading.local()
        self._processes: list[subprocess.Popen[bytes]] = []
        self._killed = False

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Call `fn`, which a worker must be able to import, with picklable arguments."""
        return self._threads.submit(self._call, fn, args, kwargs)

    def _call(self, fn: Callable[..., T], args: tuple[Any, ...], kwargs: dict[str, Any]) -> T:
        process = self._process()
        calls, results = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        call = pickle.dumps((fn, args, kwargs))
        try:
            calls.write(call)
            calls.flush()
            error, result = pickle.load(results)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError):
            del self._mine.process  # the next call gets another
            raise GptexError(f"a worker process ended unexpectedly ({_ending(process.wait())})") from None
        if error is not None:
            raise error
        return cast("T", result)

    def _process(self) -> subprocess.Popen[bytes]:
        """The process of this thread, started when it is first needed."""
        if hasattr(self._mine, "process"):
            return cast("subprocess.Popen[bytes]", self._mine.process)
        if self._killed:
            raise GptexError("the workers were stopped")
        if not sys.executable:
            raise GptexError("cannot start workers: sys.executable names no Python interpreter; set it, or give an executor")
        if hasattr(signal, "pthread_sigmask"):  # inherited: Ctrl-C reaches the whole terminal; the parent decides
            signal.pthread_sigmask(signal.SIG_BLOCK, STOPS)
        command = [sys.executable, "-P", "-c", BOOT]  # -P: nothing is imported from the current folder
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env={**KEEP_MEMORY, **os.environ, **ONE_THREAD}
            )
        except OSError as error:
            reason = f"{sys.executable}: {error.strerror or error}"
            raise GptexError(f"cannot start a worker process ({reason}): use fewer workers, or give an executor") from error
        self._mine.process = process
        self._processes.append(process)
        if self._killed:  # since the question above
            process.kill()
        pickle.dump(sys.path, cast("IO[bytes]", process.stdin))
        return process

    def kill(self) -> None:
        """End all workers now; what they were doing is lost."""
        self._killed = True
        for process in self._processes:
            process.kill()
        self.shutdown(cancel_futures=True)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let the workers finish what was submitted, then end them."""
        self._threads.shutdown(wait=wait, cancel_futures=cancel_futures)
        if not wait:
            threading.Thread(target=self.shutdown).start()
            return
        for process in self._processes:
            process.communicate()  # closes its standard input, which ends it


def _ending(code: int) -> str:
    return f"signal {-code}, {signal.strsignal(-code)}" if code < 0 else f"exit code {code}"


def serve() -> None:
    """What a worker process runs until its standard input ends."""
    for number in STOPS:
        signal.signal(number, signal.SIG_IGN)
    threading.Thread(target=_follow_parent, args=(os.getppid(),), daemon=True).start()
    calls = sys.stdin.buffer
    results = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever is printed must not mix with the results
    try:
        _answer(calls, results)
    except BrokenPipeError:  # the parent has gone
        os._exit(1)


def _answer(calls: IO[bytes], results: IO[bytes]) -> None:
    while True:
        try:
            fn, args, kwargs = pickle.load(calls)
        except (EOFError, pickle.UnpicklingError):  # the parent has closed the pipe, or gone in the middle of a call
            return
        try:
            answer: tuple[BaseException | None, Any] = (None, fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  raised again where the call was made
            answer = (error, None)
        pickle.dump(answer, results)
        results.flush()


def _follow_parent(parent: int) -> None:
    """End this process when its parent is gone, in the middle of whatever it does."""
    while os.getppid() == parent:
        time.sleep(0.2)
    os._exit(1)
