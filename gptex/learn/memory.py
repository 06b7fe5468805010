"""The memory of a process that computes on a CPU."""

from __future__ import annotations

import ctypes
import platform

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # of malloc.h


def keep_memory() -> None:
    """Make glibc keep the memory that this process frees, for what it asks for next.

    A net's maps are large, and by itself glibc gives each back to the system and asks for it again, zeroed, at every step. Call
    it before a loop that trains on a CPU; `gptex train`, `evaluate` and `compare` do. It is for the rest of the process, which
    then holds its peak of memory until it ends, with some more between what is in use. Without glibc nothing happens.
    """
    if platform.libc_ver()[0] == "glibc":
        libc = ctypes.CDLL(None)
        libc.mallopt(M_MMAP_MAX, 0)  # large blocks come from the heap, too,
        libc.mallopt(M_TRIM_THRESHOLD, -1)  # which never shrinks
