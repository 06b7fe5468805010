"""Timing on a noisy machine: things in turn, many times, and the ratios of their medians."""

from __future__ import annotations

import time
from collections.abc import Callable
from statistics import median


def seconds(call: Callable[[], object]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turn(calls: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Median wall time of each call, all of them once a round, after one round to warm up."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(rounds + 1):
        for name, call in calls.items():
            elapsed = seconds(call)
            if number:
                times[name].append(elapsed)
    return {name: median(values) for name, values in times.items()}


def table(times: dict[str, float], base: str) -> None:
    """Print each time and its ratio to that of `base`."""
    for name, value in times.items():
        print(f"{name:<58} {1e3 * value:9.2f} ms   {value / times[base]:7.2f} x")
