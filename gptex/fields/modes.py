r"""Modes: which waves a field on a torus is made of, how much variance each carries, and what it costs to draw them.

A field on a torus of :math:`N_1 \times \dots \times N_d` pixels is :math:`f(x) = \sum_m a_m e^{2\pi i\, m \cdot x / N}` with
independent complex normal :math:`a_m` (up to :math:`a_{-m} = \bar a_m`). Its covariance is the inverse DFT of the variances
:math:`p_m = E|a_m|^2`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gptex.fields.kernels import FloatArray

Shape = tuple[int, ...]

THIN = 40  # modes along the last axis for each window in the torus, below which matrix products beat the FFT
THIN_NUMBERS, THIN_NUMBERS_PER_PIXEL = 2**22, 8  # real ones, in the matrices of the products or between two of them
PRODUCTS_PER_FFT = 32  # operations


@dataclass(frozen=True)
class ModeBox:
    """The modes of a torus up to a cutoff on each axis.

    Attributes
    ----------
    torus : tuple of int
        Size N of each axis.
    cutoff : tuple of int
        Largest mode number kept on each axis, at most N // 2.
    """

    torus: Shape
    cutoff: Shape

    @property
    def self_conjugate(self) -> list[int]:
        """Columns of the last axis that are their own conjugates: 0, and Nyquist where the size is even."""
        nyquist = [self.cutoff[-1]] if 2 * self.cutoff[-1] == self.torus[-1] else []
        return [0, *nyquist]

    @property
    def multiplicity(self) -> FloatArray:
        """How often each column of the half spectrum stands in the whole: 2, but 1 where it is its own conjugate."""
        times = np.full(self.cutoff[-1] + 1, 2.0)
        times[self.self_conjugate] = 1
        return times

    @property
    def shape(self) -> Shape:
        """Of the array of the modes' variances or amplitudes: both signs on the leading axes, from 0 up on the last one."""
        leading = (min(2 * top + 1, size) for top, size in zip(self.cutoff[:-1], self.torus[:-1], strict=True))
        return (*leading, self.cutoff[-1] + 1)

    @property
    def index(self) -> tuple[npt.NDArray[np.intp], ...]:
        """Where the modes stand in an array of the torus's whole half spectrum, by `numpy.ix_`."""
        return np.ix_(*(numbers.ravel().astype(int) for numbers in mode_numbers(self.torus, self.cutoff)))

    def thin(self, shape: Shape) -> bool:
        """Whether matrices of cosines and sines draw the window `shape` as soon as an FFT, and in little memory.

        So they do where the modes are few along the last axis, unless the matrices of a leading axis take over, as on long
        narrow grids. An FFT of n points is counted as 5 n log2(n) operations, a real one as half of that.
        """
        last = self.torus[-1]
        columns, rows, points = self.cutoff[-1] + 1, math.prod(shape[:-1]), math.prod(self.torus[:-1])
        if self.cutoff[-1] >= THIN * last / shape[-1]:
            return False
        counts = self.shape[:-1]
        stages = [math.prod(shape[:axis]) * math.prod(counts[axis:]) * columns for axis in range(len(shape))]
        matrices = sum(n * count for n, count in zip(shape, counts, strict=False)) + shape[-1] * columns + 4 * columns**2
        if 2 * max(matrices, *stages) > max(THIN_NUMBERS, THIN_NUMBERS_PER_PIXEL * math.prod(shape)):
            return False
        products = sum(8 * n * stage for n, stage in zip(shape[:-1], stages, strict=False)) + 4 * rows * columns * shape[-1]
        fft = 5 * columns * points * math.log2(points) + 2.5 * rows * last * math.log2(last)
        return products <= PRODUCTS_PER_FFT * fft


@dataclass(frozen=True)
class Spectrum(ModeBox):
    """The modes that carry a field's variance, and how much each carries.

    Attributes
    ----------
    variance : (M_1, …, M_{d-1}, cutoff_d + 1) float64
        E|a_m|², modes in FFT order on the leading axes and 0 … cutoff on the last one, whose negative half is implied.
    loss : float
        Bound on the error of the covariance at any lag inside the window, rounding apart, with the field's variance as unit.
        For an open field of a given power spectrum it is an estimate, see `gptex.fields.embedding`.
    """

    variance: FloatArray
    loss: float


def mode_numbers(torus: Shape, cutoff: Shape) -> list[FloatArray]:
    """Mode numbers of each axis in the order of `Spectrum.variance`, shaped to broadcast against each other."""
    axes = []
    for axis, (size, top) in enumerate(zip(torus, cutoff, strict=True)):
        if axis == len(torus) - 1:
            numbers = np.arange(top + 1.0)
        elif 2 * top + 1 < size:
            numbers = np.concatenate([np.arange(top + 1.0), np.arange(-top, 0.0)])
        else:
            numbers = np.fft.fftfreq(size, 1 / size)
        axes.append(numbers)
    return list(np.ix_(*axes))


def all_modes(torus: Shape) -> ModeBox:
    """Every mode of `torus`."""
    return ModeBox(torus, tuple(n // 2 for n in torus))


def trim(torus: Shape, variance: FloatArray, budget: float) -> Spectrum:
    """The modes of a whole half spectrum but for outer ones that together carry less than the share `budget`, and negatives.

    The array `variance` is used up.
    """
    weighted = np.maximum(variance, 0, out=variance)
    weighted *= all_modes(torus).multiplicity
    total = float(weighted.sum())
    cutoff = []
    for axis, size in enumerate(torus):
        marginal = weighted.sum(axis=tuple(a for a in range(len(torus)) if a != axis))
        if axis < len(torus) - 1:  # fold negative modes onto positive ones
            folded = marginal[: size // 2 + 1].copy()
            folded[1 : (size + 1) // 2] += marginal[: size // 2 : -1]
            marginal = folded
        beyond = total - np.cumsum(marginal)
        cutoff.append(int(np.argmax(beyond <= budget * total / len(torus))))
    kept = ModeBox(torus, tuple(cutoff))
    box = weighted if kept == all_modes(torus) else weighted[kept.index]
    loss = total - float(box.sum())
    box /= kept.multiplicity
    return Spectrum(torus, kept.cutoff, box, max(loss, 0.0))
