"""The power of every mode: mean |F|² over many fields against the DFT of the covariance, by chi-square tests.

Periodic fields have independent modes: with λ the DFT of the kernel summed over images and N the number of pixels,
|F|² / (N λ) is chi-square of one degree of freedom where a mode is its own conjugate (F is real), and half a chi-square of
two elsewhere. Sums over a class of modes and over fields are chi-square too, so the tests are exact. The classes are those
where samplers go wrong: packages that draw the half spectrum with equal amplitudes lose half the power of its zero and
Nyquist columns.

All tests of this module together fail by chance once in a million seeds; the seeds are fixed. A sampler with that fault
must fail.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from gptex.fields import Exponential, Matern, RationalQuadratic, Sampler, SquaredExponential

FALSE_ALARM = 1e-6
CHECKS = 120  # more than there are in this module
FIELDS = 400
CLASSES = ("mean", "zero column", "nyquist column", "zero row", "bulk")


def mode_variances(shape, kernel, length_scale):
    """λ of every mode: the DFT of the kernel summed over images, at every lag of the torus."""
    covariance = 0.0
    for images in itertools.product(range(-12, 13), repeat=len(shape)):
        covariance = covariance + kernel.covariance(
            np.ix_(*(np.arange(n) + n * i for n, i in zip(shape, images, strict=True))), length_scale
        )
    return np.fft.fftn(covariance).real


def classes_of(shape):
    """Class of each mode, and degrees of freedom: 1 for its own conjugate, 2 for one of each pair, 0 for the other."""
    name = np.full(shape, "bulk", dtype=object)
    freedom = np.empty(shape, dtype=int)
    for mode in np.ndindex(shape):
        conjugate = tuple(-m % n for m, n in zip(mode, shape, strict=True))
        freedom[mode] = 1 if mode == conjugate else 2 if mode < conjugate else 0
        if not any(mode):
            name[mode] = "mean"
        elif mode[-1] == 0:
            name[mode] = "zero column"
        elif 2 * mode[-1] == shape[-1]:
            name[mode] = "nyquist column"
        elif mode[0] == 0 and len(shape) > 1:
            name[mode] = "zero row"
    return name, freedom


def wrong_classes(sampler, variances):
    """The classes of modes whose mean power is not what it should be."""
    power = sum(np.abs(np.fft.fftn(sampler(seed).astype(np.float64))) ** 2 for seed in range(FIELDS))
    name, freedom = classes_of(sampler.shape)
    statistic = freedom * power / (variances * variances.size)
    wrong = []
    for each in CLASSES:
        chi2 = scipy.stats.chi2(FIELDS * freedom[name == each].sum())
        low, high = chi2.isf([1 - FALSE_ALARM / CHECKS / 2, FALSE_ALARM / CHECKS / 2])
        if (name == each).any() and not low < statistic[name == each].sum() < high:
            wrong.append(each)
    return wrong


GRIDS = [
    ((31,), Exponential(), 2.0),
    ((32,), Matern(nu=1.5), 1.5),
    ((17, 15), Exponential(), 1.5),
    ((16, 18), Exponential(), 1.5),
    ((16, 15), Matern(nu=0.8), 1.5),
    ((15, 16), RationalQuadratic(alpha=6.0), 0.8),
    ((16, 16), SquaredExponential(), 0.7),
    ((24, 10), Exponential(aspect=2, angle=30), 0.8),
    ((6, 5, 8), Exponential(), 0.7),
    ((5, 6, 7), Matern(nu=1.5), 0.7),
]
every_grid = pytest.mark.parametrize(("shape", "kernel", "length_scale"), GRIDS, ids=str)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@every_grid
def test_every_class_of_modes_carries_its_full_power(shape, kernel, length_scale, dtype):
    sampler = Sampler(shape, kernel, length_scale, dtype=dtype)
    assert wrong_classes(sampler, mode_variances(shape, kernel, length_scale)) == []


@pytest.mark.parametrize("shape", [(32,), (16, 18), (6, 5, 8)])
def test_zero_and_nyquist_columns_alone_carry_full_power_too(shape):
    """White-like modes one by one: no mode of the special columns hides behind its neighbours."""
    kernel, length_scale = Exponential(), 0.7
    sampler, variances = Sampler(shape, kernel, length_scale, dtype="float64"), mode_variances(shape, kernel, length_scale)
    power = sum(np.abs(np.fft.fftn(sampler(seed))) ** 2 for seed in range(FIELDS)) / (variances * variances.size)
    name, freedom = classes_of(shape)
    special = np.isin(name.astype(str), ["mean", "zero column", "nyquist column"]) & (freedom > 0)
    each = FALSE_ALARM / CHECKS / special.sum()
    chi2 = scipy.stats.chi2(FIELDS * freedom[special])
    statistic = (freedom * power)[special]
    assert (chi2.isf(1 - each / 2) < statistic).all()
    assert (statistic < chi2.isf(each / 2)).all()


class HalfPower(Sampler):
    """The fault of other packages: self-conjugate columns drawn like the others."""

    def draw(self, bits):
        amplitudes = super().draw(bits)
        amplitudes[..., self.modes.self_conjugate] /= math.sqrt(2)
        return amplitudes


@pytest.mark.parametrize(
    ("shape", "faults"),
    [
        ((16, 18), ["mean", "zero column", "nyquist column"]),
        ((16, 15), ["mean", "zero column"]),
        ((32,), ["mean", "nyquist column"]),
        ((6, 5, 8), ["mean", "zero column", "nyquist column"]),
    ],
)
def test_half_power_in_the_self_conjugate_columns_is_found(shape, faults):
    kernel, length_scale = Exponential(), 0.7
    assert wrong_classes(HalfPower(shape, kernel, length_scale), mode_variances(shape, kernel, length_scale)) == faults


def test_a_length_scale_wrong_by_a_tenth_is_found():
    sampler = Sampler((16, 18), Exponential(), 1.1 * 1.5)
    assert "bulk" in wrong_classes(sampler, mode_variances((16, 18), Exponential(), 1.5))
