"""How long a two-scale standardized 1024² float32 texture takes on one thread, against one full inverse FFT of that size."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.fft

import gptex
from benchmarks.timing import in_turn, table
from gptex.fields.sampler import superpose
from gptex.fields.streams import complex_normals, stream

SIZE = 1024


def two_scales(**keys: Any) -> gptex.Recipe:
    """The paper's recipe with other keys for its components."""
    fine, coarse = gptex.preset("golkar-cranmer-2018").components
    return gptex.preset("golkar-cranmer-2018").replace(components=[fine.replace(**keys), coarse.replace(**keys)])


def main() -> None:
    """Print the tables."""
    rng = np.random.default_rng(0)
    half = (rng.standard_normal((SIZE, SIZE // 2 + 1)) + 1j * rng.standard_normal((SIZE, SIZE // 2 + 1))).astype(np.complex64)
    normals = np.empty((SIZE, SIZE // 2 + 1, 2))
    paper, periodic = gptex.preset("golkar-cranmer-2018"), two_scales(boundary="periodic")
    matern = two_scales(boundary="periodic", kernel="matern", nu=1.5)
    fft = "scipy.fft.irfft2, complex64"
    counter = iter(range(10**9))

    times = in_turn(
        {
            fft: lambda: scipy.fft.irfft2(half),
            "texture, both components periodic": lambda: periodic.texture("train", next(counter)),
            "texture, the paper's recipe (coarse component open)": lambda: paper.texture("train", next(counter)),
        },
        200,
    )
    table(times, fft)

    print("\nWhere the time goes, both components periodic (class 9.5-80), and the open component alone:\n")
    fine = gptex.Sampler((SIZE, SIZE), "squared-exponential", 9.5)
    coarse = gptex.Sampler((SIZE, SIZE), "squared-exponential", 80)
    opened = gptex.Sampler((SIZE, SIZE), "squared-exponential", 80, boundary="open")
    amplitude = np.ones_like(fine.draw(stream(0)).real)
    columns = fine.draw(stream(0))
    padded = np.zeros((SIZE, columns.shape[1]), np.complex64)
    rows = scipy.fft.ifft(padded, axis=0)
    times = in_turn(
        {
            fft: lambda: scipy.fft.irfft2(half),
            "noise and filter of the fine component": lambda: complex_normals(stream(0), amplitude),
            "columns: ifft of those that carry power": lambda: scipy.fft.ifft(padded, axis=0),
            "rows: irfft": lambda: scipy.fft.irfft(rows, n=SIZE, axis=1),
            "all of it": lambda: superpose([fine, coarse], [fine.draw(stream(0)), coarse.draw(stream(1))], [0.75, 1.25], True),
            "open component, standardized": lambda: superpose([opened], [opened.draw(stream(1))], [1.25], True),
        },
        200,
    )
    table(times, fft)
    floor = sum(list(times.values())[1:4])
    print(f"\n'all of it' is {times['all of it'] / floor:.2f} x the sum of noise, columns and rows")

    print("\nMatern 3/2, all modes alive:\n")
    single = gptex.Sampler((SIZE, SIZE), "matern", 10, nu=1.5)
    both = "one set of numpy normals (float64) + one irfft2"
    times = in_turn(
        {
            both: lambda: (rng.standard_normal(out=normals), scipy.fft.irfft2(half)),
            "one field": lambda: single(next(counter)),
            "texture of two standardized fields": lambda: matern.texture("train", next(counter)),
        },
        30,
    )
    table(times, both)
