"""What is computed of each texture, sums over its periodogram and moments, and what theory says of their expectation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from gptex.fields.kernels import FloatArray
from gptex.fields.modes import all_modes
from gptex.trust.theory import Theory, covariance

BANDS = 12
FEWEST_MODES = 8  # in a band
FLOOR = 1e-5  # of the mean power, below which modes are not looked at; rounding and the declared error are far below


@dataclass(frozen=True)
class Measured:
    """What was computed of one texture.

    Attributes
    ----------
    sums : (bands + columns + components + lags,) float64
        Of whitened power in each band and column; of it times the slope of each component; products of pixels at each lag.
    moments : (4,) float64
        Mean, variance, skewness and kurtosis of the pixels.
    ratios : (neighbours,) float64
        log likelihood ratio of each neighbouring class to its own, as if modes were independent.
    """

    sums: FloatArray
    moments: FloatArray
    ratios: FloatArray


class ClassStatistics:
    """How the textures of one class are looked at, and what theory says of it.

    Attributes
    ----------
    bands : int
    wavenumbers : (bands,) float64
        Mean wave number of each band, radians a pixel.
    lags : list of int
        In pixels, along the axes.
    modes : (bands,) float64
        Number of modes in each band; a mode and its conjugate count as two.
    columns : list of str
        What the modes have in common that are their own conjugates along some axis: there other packages are wrong.
    expected : (bands + columns + components + lags,) float64
        Of the sums, without standardization.
    neighbours : list of int
        Labels that differ by one step of one length scale.
    """

    def __init__(self, theory: Theory, label: int) -> None:
        recipe, self.theory, self.label = theory.recipe, theory, label
        own = theory.of_class(label)
        shape = recipe.shape
        times = np.broadcast_to(multiplicity(shape), own.reference.shape)
        floor = max(FLOOR, 1e4 * max(component.tolerance for component in recipe.components))
        used = own.reference >= floor * float((own.reference * times).sum()) / math.prod(shape)
        numbers = np.ix_(*(np.fft.fftfreq(n, 1 / n) for n in shape[:-1]), np.arange(shape[-1] // 2 + 1.0))
        if recipe.standardize:  # the mean that was taken away is in these modes
            used &= ~np.logical_and.reduce(np.broadcast_arrays(*(np.abs(m) <= theory.tapered for m in numbers)))
        self._used, self._times = used, times[used]
        k = np.sqrt(sum(np.square(2 * math.pi * m / n) for m, n in zip(numbers, shape, strict=True)))[used]
        self._band = _bands(k, self._times)
        self.bands = int(self._band.max(initial=-1)) + 1
        self.modes = np.bincount(self._band, self._times, self.bands)
        self.wavenumbers = np.bincount(self._band, self._times * k, self.bands) / self.modes
        self.columns, self._column = _columns(numbers, shape, used, self._times)
        self.reference = own.reference[used]
        self.slopes = own.slopes[:, used]
        self.lags = _lags(recipe.length_scales(label), shape)
        ratio = own.power[used] / self.reference
        self.expected = np.concatenate([self._sums(ratio), self._expected_products()])
        self.neighbours = _neighbours(theory, label)
        self._others = [theory.of_class(other).reference[used] for other in self.neighbours]
        self.power = np.bincount(self._band, self._times * own.reference[used], self.bands) / self.modes
        self.information = np.einsum("in,jn,n->ij", self.slopes, self.slopes, self._times)

    def measure(self, image: npt.NDArray[np.floating]) -> Measured:
        """What is computed of one texture."""
        power = self.theory.periodogram(image)[self._used]
        whitened = power / self.reference
        pixels = np.asarray(image, np.float64)
        mean, variance = float(pixels.mean()), float(pixels.var())
        scaled = (pixels - mean) / math.sqrt(variance)
        cubes = scaled * scaled * scaled
        moments = np.array([mean, variance, cubes.mean(), (cubes * scaled).mean()])
        own = (self._times * (np.log(self.reference) + whitened)).sum()
        others = [(self._times * (np.log(other) + power / other)).sum() for other in self._others]
        return Measured(np.concatenate([self._sums(whitened), self._products(pixels)]), moments, (own - np.array(others)) / 2)

    def _sums(self, whitened: FloatArray) -> FloatArray:
        weighted = self._times * whitened
        columns = [weighted[modes].sum() for modes in self._column]
        return np.concatenate([np.bincount(self._band, weighted, self.bands), columns, self.slopes @ weighted])

    def _products(self, pixels: FloatArray) -> FloatArray:
        """Mean product of pixels at each lag along an axis, over all axes that are long enough."""
        return np.array([np.mean([_product(pixels, axis, lag) for axis in _axes(pixels.shape, lag)]) for lag in self.lags])

    def _expected_products(self) -> FloatArray:
        recipe = self.theory.recipe
        fields = [
            (component.weight**2, covariance(recipe.shape, component.kernel_object, scale, component.boundary))
            for component, scale in zip(recipe.components, recipe.length_scales(self.label), strict=True)
        ]

        def at(lag: int, axis: int) -> float:
            lags = [np.array([lag if other == axis else 0]) for other in range(len(recipe.shape))]
            return sum(square * float(field(lags).item()) for square, field in fields) + recipe.noise_std**2 * (lag == 0)

        return np.array([np.mean([at(lag, axis) for axis in _axes(recipe.shape, lag)]) for lag in self.lags])

    @property
    def exact_scatter(self) -> FloatArray | None:
        """Covariance of the sums over the periodogram, where modes are independent; else None."""
        if self.theory.tapered or self.theory.recipe.standardize:
            return None
        columns = [np.bincount(modes, minlength=len(self._times)) for modes in self._column]
        rows = np.vstack([np.eye(self.bands)[self._band].T, *columns, self.slopes])
        return np.asarray(2 * (rows * self._times) @ rows.T)

    def third_moment(self, weights: FloatArray) -> tuple[float, float]:
        """Second and third cumulant of the sum of whitened power times `weights`, one a mode, of independent modes."""
        return 2 * float((self._times * weights**2).sum()), 8 * float((self._times * weights**3).sum())


def multiplicity(shape: Sequence[int]) -> FloatArray:
    """How often each column of the half spectrum stands in the whole: 2, but 1 where it is its own conjugate."""
    return all_modes(tuple(shape)).multiplicity


def _bands(k: FloatArray, times: FloatArray) -> npt.NDArray[np.int64]:
    """Number of the band of each mode: as wide as each other on a logarithmic scale, but not with too few modes."""
    order = np.argsort(k, kind="stable")
    positive = k[k > 0]
    if not len(positive):
        return np.zeros(len(k), np.int64)
    edges = np.geomspace(positive.min(), positive.max() * (1 + 1e-9), BANDS + 1)[1:-1]
    wanted = np.digitize(k[order], edges)
    band = np.empty(len(k), np.int64)
    number, count, former = 0, 0.0, wanted[0]
    changes = np.flatnonzero(np.diff(wanted)) + 1
    for start, end in zip([0, *changes], [*changes, len(k)], strict=True):
        if count >= FEWEST_MODES and wanted[start] != former:
            number, count = number + 1, 0.0
        band[order[start:end]] = number
        count += float(times[order[start:end]].sum())
        former = wanted[start]
    if number and count < FEWEST_MODES:
        band[band == number] = number - 1
    return band


def _columns(
    numbers: Sequence[npt.NDArray[Any]], shape: Sequence[int], used: npt.NDArray[np.bool_], times: FloatArray
) -> tuple[list[str], list[npt.NDArray[np.int64]]]:
    """The modes with wave number 0 along an axis, or with Nyquist's, where enough of them are used: in words, and places."""
    words, places = [], []
    for axis, (m, n) in enumerate(zip(numbers, shape, strict=True)):
        for name, value in (("0", 0), ("Nyquist's", n / 2)):
            found = np.flatnonzero(np.broadcast_to(np.abs(m) == value, used.shape)[used])
            if n > 2 and times[found].sum() >= FEWEST_MODES:
                words.append(f"waves of wave number {name} along axis {axis}")
                places.append(found)
    return words, places


def _lags(scales: Sequence[float], shape: Sequence[int]) -> list[int]:
    """Lags to look at: 0, and half of, once and twice each length scale, where the grid is long enough."""
    wanted = {0, *(round(factor * scale) for scale in scales for factor in (0.5, 1, 2))}
    return sorted(lag for lag in wanted if lag <= max(shape) // 2)


def _axes(shape: Sequence[int], lag: int) -> list[int]:
    return [axis for axis, n in enumerate(shape) if lag <= n // 2]


def _product(pixels: FloatArray, axis: int, lag: int) -> float:
    moved = np.moveaxis(pixels, axis, 0)
    return float((moved[lag:] * moved[: len(moved) - lag]).mean())


def _neighbours(theory: Theory, label: int) -> list[int]:
    """Labels of the classes that differ by one step of one length scale."""
    recipe = theory.recipe
    sizes = [len(component.length_scales) for component in recipe.components]
    order = [np.argsort(component.length_scales) for component in recipe.components]
    choices = recipe.choices(label)
    found = []
    for number, choice in enumerate(choices):
        rank = int(np.flatnonzero(order[number] == choice)[0])
        for step in (-1, 1):
            if 0 <= rank + step < sizes[number]:
                other = [*choices[:number], int(order[number][rank + step]), *choices[number + 1 :]]
                found.append(int(np.ravel_multi_index(other, sizes, order="F")))
    return found


# -- probabilities


def gamma_p(ratio: float, relative_variance: float) -> float:
    """Two-sided p of a positive number with expectation 1 and this variance, as of a gamma variable."""
    shape = 1 / relative_variance
    return min(1.0, 2 * float(min(special.gammainc(shape, shape * ratio), special.gammaincc(shape, shape * ratio))))


def skewed_p(z: float, skewness: float) -> float:
    """Two-sided p of a standardized variable with this skewness, as of a shifted gamma variable (Pearson's type III)."""
    if abs(skewness) < 1e-4:
        return float(2 * special.ndtr(-abs(z)))
    shape = 4 / skewness**2
    x = max(shape + math.copysign(z, skewness * z) * math.sqrt(shape), 0.0)
    return min(1.0, 2 * float(min(special.gammainc(shape, x), special.gammaincc(shape, x))))


def with_estimated_scatter(p: float, draws: int) -> float:
    """p when the variance was estimated from so many draws: the same deviation with the tails of Student's t."""
    if p <= 0:
        return 0.0
    return float(2 * special.stdtr(draws - 1, special.ndtri(p / 2)))


def rank_scores(values: FloatArray, references: FloatArray) -> tuple[float, float]:
    """Sum of the normal scores of `values` among both, and its variance if both are of one distribution (van der Waerden)."""
    n, m = len(values), len(references)
    ranks = np.argsort(np.argsort(np.concatenate([values, references]))) + 1
    scores = special.ndtri(ranks / (n + m + 1))
    return float(scores[:n].sum()), n * m / ((n + m) * (n + m - 1)) * float(np.square(scores).sum())
