"""Streams: normals by hand from PCG64's bits, their distribution by scipy's tests, keys by hashlib, as docs define them.

Each statistical test fails by chance once in a million seeds; the seeds are fixed.
"""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest
import scipy.stats

from gptex.errors import RecipeError
from gptex.fields import stream
from gptex.fields.streams import BLOCK, check_seed, complex_normals, normals, split_key

FALSE_ALARM = 1e-6
COUNT = 200_000


def draw(*key, count=COUNT, dtype="float64"):
    return complex_normals(stream(7, *key), np.ones(count, dtype))


# Bits


def test_normals_are_box_and_mullers_of_pcg64():
    bits = np.random.PCG64(np.random.SeedSequence(5, spawn_key=(1, 2)))
    for z in complex_normals(stream(5, 1, 2), np.full(5, 3.0)):
        word = int(bits.random_raw())
        high, low = word >> 32, word & 0xFFFFFFFF
        radius = math.sqrt(-2 * math.log((high + 0.5) / 2**32))
        angle = 2 * math.pi * low / 2**32
        assert z.real == pytest.approx(3 * radius * math.cos(angle), abs=1e-12)
        assert z.imag == pytest.approx(3 * radius * math.sin(angle), abs=1e-12)


def test_blocks_leave_no_seam():
    both = complex_normals(stream(0), np.ones(2 * BLOCK + 3))
    bits = stream(0)
    one_by_one = [complex_normals(bits, np.ones(n)) for n in (BLOCK - 1, 1, 2, BLOCK + 1)]
    np.testing.assert_array_equal(both, np.concatenate(one_by_one))


def test_standard_deviations_scale_each_mode():
    std = np.arange(12.0).reshape(3, 4)
    np.testing.assert_allclose(complex_normals(stream(1), std), std * complex_normals(stream(1), np.ones((3, 4))), rtol=1e-15)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_real_normals_are_the_parts_of_complex_ones(dtype):
    pairs = draw(3, count=8, dtype=dtype)
    flat = normals(stream(7, 3), (3, 5), dtype)
    assert flat.dtype == dtype
    np.testing.assert_array_equal(flat.ravel(), np.column_stack([pairs.real, pairs.imag]).ravel()[:15])


def test_float32_and_float64_agree_to_rounding():
    single, double = draw(0, dtype="float32"), draw(0)
    assert single.dtype == np.complex64
    error = np.abs(single - double)
    assert math.sqrt(np.mean(error**2)) < 1e-6
    assert error.max() < math.sqrt(2**-23)  # log u for u rounded to 1 - 2^-24


def test_same_key_same_bits_other_key_other_bits():
    keys = [(), (0,), (0, 0), (1,), (0, 1), (1, 0), (2**63,), (2**63 + 1,)]
    heads = {tuple(stream(seed, *key).random_raw(4)) for seed in (0, 1, 2**128 - 1) for key in keys}
    assert len(heads) == 3 * len(keys)
    np.testing.assert_array_equal(stream(4, 2, 1).random_raw(4), stream(4, 2, 1).random_raw(4))


# Distribution


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_both_parts_are_normal(dtype):
    z = draw(1, dtype=dtype)
    for part in (z.real, z.imag):
        assert scipy.stats.kstest(part.astype(np.float64), "norm").pvalue > FALSE_ALARM


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_moments_are_those_of_the_normal(dtype):
    z = draw(2, dtype=dtype).astype(complex)
    bound = scipy.stats.norm.isf(FALSE_ALARM / 16) / math.sqrt(COUNT)  # eight two-sided checks
    for x in (z.real, z.imag):
        assert abs(x.mean()) < bound
        assert abs((x**2).mean() - 1) < bound * math.sqrt(2)
        assert abs((x**3).mean()) < bound * math.sqrt(15)
        assert abs((x**4).mean() - 3) < bound * math.sqrt(96)


def test_parts_and_neighbours_are_independent():
    z = draw(3)
    bound = scipy.stats.norm.isf(FALSE_ALARM / 10) / math.sqrt(COUNT)
    for a, b in [(z.real, z.imag), (z.real[1:], z.real[:-1]), (z.imag[1:], z.real[:-1])]:
        assert abs((a * b).mean()) < bound
    assert abs(((z.real**2 - 1) * (z.imag**2 - 1)).mean()) < 2 * bound  # independent, not just uncorrelated
    assert scipy.stats.kstest(np.abs(z) ** 2 / 2, "expon").pvalue > FALSE_ALARM


def test_streams_of_neighbouring_keys_are_independent():
    together = np.stack([draw(5, index, count=2000).real for index in range(50)])
    correlation = np.corrcoef(together)[np.triu_indices(50, 1)] * math.sqrt(2000)
    assert scipy.stats.kstest(correlation, "norm").pvalue > FALSE_ALARM
    assert scipy.stats.kstest(together.ravel(), "norm").pvalue > FALSE_ALARM


# Names and seeds


@pytest.mark.parametrize("name", ["train", "val", "test", "", "Übung"])
def test_split_key_is_the_head_of_the_sha256_with_the_top_bit_set(name):
    head = hashlib.sha256(name.encode("utf-8")).hexdigest()[:16]
    assert split_key(name) == int(head, 16) | 0x8000000000000000


def test_split_key_of_train_never_changes():
    # printf train | sha256sum | cut -c-16 gives 116f54c41d0405db, and 1 + 8 = 9
    assert split_key("train") == 0x916F54C41D0405DB


@pytest.mark.parametrize("seed", [0, 1, 2**64, 2**128 - 1, np.int64(3), np.uint64(2**64 - 1)])
def test_whole_numbers_below_2_to_the_128_are_seeds(seed):
    checked = check_seed(seed)
    assert type(checked) is int
    assert checked == int(seed)


@pytest.mark.parametrize(
    ("seed", "message"),
    [(-1, "from 0 to"), (2**128, "from 0 to"), (1.0, "whole number"), ("1", "whole number"), (None, "whole number")],
)
def test_anything_else_is_no_seed(seed, message):
    with pytest.raises(RecipeError, match=message):
        check_seed(seed)
