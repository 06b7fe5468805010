"""Boxes of modes: their numbers, and whether matrix products draw them in time and memory."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

from gptex.fields import Exponential, Matern, PowerSpectrum, Sampler, SquaredExponential
from gptex.fields.modes import ModeBox, mode_numbers

MEBIBYTE = 2**20


@pytest.mark.parametrize(
    ("torus", "cutoff", "expected"),
    [
        ((8,), (3,), [[0, 1, 2, 3]]),
        ((8, 8), (4, 4), [[0, 1, 2, 3, -4, -3, -2, -1], [0, 1, 2, 3, 4]]),
        ((9, 8), (2, 1), [[0, 1, 2, -2, -1], [0, 1]]),
        ((5, 3, 4), (2, 0, 2), [[0, 1, 2, -2, -1], [0], [0, 1, 2]]),
    ],
)
def test_mode_numbers_are_in_fft_order_with_half_of_the_last_axis(torus, cutoff, expected):
    assert [numbers.ravel().tolist() for numbers in mode_numbers(torus, cutoff)] == expected


@pytest.mark.parametrize(("size", "top", "expected"), [(8, 3, [1, 2, 2, 2]), (8, 4, [1, 2, 2, 2, 1]), (7, 3, [1, 2, 2, 2])])
def test_columns_stand_twice_unless_they_are_their_own_conjugates(size, top, expected):
    assert ModeBox((size,), (top,)).multiplicity.tolist() == expected


@pytest.mark.parametrize("length_scale", [80.0, 140.0])
def test_the_papers_coarse_fields_are_drawn_by_products(length_scale):
    assert Sampler((1024, 1024), "squared-exponential", length_scale, boundary="open").products is not None


@pytest.mark.parametrize(
    ("shape", "kernel", "length_scale"),
    [
        ((131072, 1), Exponential(), 5.0),
        ((1, 131072), Exponential(), 5.0),
        ((2000, 2, 2), Matern(nu=1.5), 4.0),
        ((64,), PowerSpectrum(power=((0.0, 1.0), (3.0, 0.0))), 1.0),
        ((20, 24), Exponential(aspect=1000.0), 3.0),
        ((40, 40), SquaredExponential(), 100.0),
    ],
    ids=str,
)
def test_setups_of_odd_grids_take_little_memory(shape, kernel, length_scale):
    tracemalloc.start()
    try:
        sampler = Sampler(shape, kernel, length_scale, boundary="open")
        sampler(seed=0)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    modes = np.prod([2 * top + 1.0 for top in sampler.modes.cutoff])
    assert peak < 200 * MEBIBYTE + 40 * modes


@pytest.mark.parametrize(
    ("torus", "cutoff", "shape", "thin"),
    [
        ((1200,), (20,), (1000,), True),
        ((1200,), (600,), (1000,), False),  # too many modes
        ((1200, 40), (10, 5), (1000, 10), True),
        ((1200, 40), (600, 20), (1000, 10), False),  # a first matrix of 1000 x 1200
        ((10**6, 10**6), (5, 5), (100, 100), True),  # a torus that no FFT could hold
        ((10**6, 10**6), (10**5, 5), (100, 100), False),
    ],
)
def test_products_are_for_few_modes(torus, cutoff, shape, thin):
    assert ModeBox(torus, cutoff).thin(shape) == thin
