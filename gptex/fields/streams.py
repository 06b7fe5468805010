"""Random streams: the one place where seeds become noise. No global state, ever.

A stream is named by a seed and a key of whole numbers and does not depend on what was drawn before. Its bits are those of
numpy's PCG64 under `numpy.random.SeedSequence`, which numpy keeps the same from version to version; numpy's own normals may
change (NEP 19), so gptex makes normals from the bits itself, by the method of Box & Muller (1958):

    z = sqrt(-2 log u) exp(2πi v),    u = (high word + 1/2) / 2**32,    v = low word / 2**32,

a pair of independent normals as one complex number. In float32 every step is a vector instruction, which makes it more than
twice as fast as a ziggurat. The largest normal is 6.76; a share of 1e-11 of a true normal lies beyond.
"""

from __future__ import annotations

import hashlib
import math
import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from gptex.errors import RecipeError

SEED_BITS = 128
BLOCK = 2**13  # pairs made at a time: small enough to stay in the cache


def check_seed(seed: int) -> int:
    """`seed` as an int from 0 to 2**128 - 1; RecipeError for anything else."""
    try:
        number = operator.index(seed)
    except TypeError:
        raise RecipeError(f"a seed must be a whole number, not {seed!r}") from None
    if not 0 <= number < 2**SEED_BITS:
        raise RecipeError(f"a seed must be from 0 to 2**{SEED_BITS} - 1, not {seed}")
    return number


def split_key(name: str) -> int:
    """A 64-bit key for a split's name, the same on every machine: the head of its SHA-256, with the top bit set.

    The top bit makes every key two words of 32 bits long, so that no two keys of a stream run into each other.
    """
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") | 1 << 63


def stream(seed: int, *key: int) -> np.random.PCG64:
    """The stream `key` under `seed`.

    >>> stream(0, 1, 2).random_raw() == stream(0, 1, 2).random_raw()
    True
    """
    return np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))


def complex_normals(
    bits: np.random.PCG64,
    std: npt.NDArray[np.floating[Any]],
    out: npt.NDArray[np.complexfloating[Any, Any]] | None = None,
) -> npt.NDArray[np.complexfloating[Any, Any]]:
    """Complex numbers with independent normal real and imaginary parts, each of standard deviation `std`.

    The shape is that of `std`, the precision too; `out`, to write to, must have both and be in C order. float32 and float64
    agree to rounding: to 1e-6 on the whole, less well in the rare pairs of radius near 0, where u is near 1.
    """
    real = std.dtype.type
    flat_std = std.ravel()
    if out is None:
        out = np.empty(std.shape, np.result_type(real, np.complex64))
    normals = out.reshape(-1)
    for first in range(0, flat_std.size, BLOCK):
        block = normals[first : first + BLOCK]
        words = bits.random_raw(block.size)
        radius = (words >> 32).astype(real)
        radius += real(0.5)
        radius *= real(2.0**-32)
        np.log(radius, out=radius)
        radius *= real(-2)
        np.sqrt(radius, out=radius)
        radius *= flat_std[first : first + BLOCK]
        angle = words.astype(np.uint32).astype(real)
        angle *= real(2 * math.pi * 2.0**-32)
        np.multiply(radius, np.cos(angle), out=block.real)
        np.multiply(radius, np.sin(angle), out=block.imag)
    return out


def normals(bits: np.random.PCG64, shape: tuple[int, ...], dtype: npt.DTypeLike) -> npt.NDArray[np.floating[Any]]:
    """Independent standard normals of `shape`, in float32 or float64."""
    count = math.prod(shape)
    pairs = complex_normals(bits, np.ones((count + 1) // 2, dtype))
    return pairs.view(dtype)[:count].reshape(shape)
