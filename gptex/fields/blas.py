"""One BLAS thread at a time: matrix products round differently with their number of threads, and textures must not."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from threading import Lock
from typing import Any


class OneBlasThread:
    """A context in which BLAS uses one thread, in the whole process; the last one out restores what was before.

    Entering and leaving cost some 10 µs.
    """

    def __init__(self) -> None:
        self._lock = Lock()
        self._inside = 0
        self._limit: Any = None

    @cached_property
    def _controller(self) -> Any:
        import scipy.linalg.blas  # noqa: F401  the libraries to control must be loaded first
        from threadpoolctl import ThreadpoolController

        return ThreadpoolController()

    def __enter__(self) -> None:
        with self._lock:
            if self._inside == 0:
                with _control_of_openblas():
                    self._limit = self._controller.limit(limits=1, user_api="blas")
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if self._inside == 0:
                with _control_of_openblas():
                    self._limit.restore_original_limits()


@contextmanager
def _control_of_openblas() -> Iterator[None]:
    """In new versions of threadpoolctl one thread holds OpenBLAS's limits and calls from others do nothing: take, give back."""
    from threadpoolctl import OpenBLASController

    clear = getattr(OpenBLASController, "clear_controlling_thread", lambda force: None)
    clear(force=True)
    try:
        yield
    finally:
        clear(force=True)


one_blas_thread = OneBlasThread()
