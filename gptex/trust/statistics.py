"""What is computed of each texture, sums over its periodogram and moments, and what theory says of their expectation."""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from gptex.errors import GptexError
from gptex.fields.kernels import FloatArray
from gptex.fields.modes import all_modes
from gptex.trust.theory import Theory, dot, squared

BANDS = 12
FEWEST_MODES = 8  # in a band
FLOOR = 1e-5  # of the mean power, below which modes are only looked at together; rounding and the declared error are far below
ROUNDING = 1e-6  # of the power, which may be anywhere

NO_VARIANCE = 1e-60  # next to 0 even for squares of it


@dataclass(frozen=True)
class Measured:
    """What was computed of one texture.

    Attributes
    ----------
    sums : (bands + columns + components + 1 + lags,) float64
        Of whitened power in each band and column; of it times the slope of each component; the power of all other modes over
        what there may be; products of pixels at each lag.
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
    expected : (bands + columns + components + 1 + lags,) float64
        Of the sums, without standardization.
    rest : int
        Place in the sums of the power of other modes.
    margin : float
        How much larger that may be than expected, for the declared error and rounding.
    neighbours : list of int
        Labels that differ by one step of one length scale.
    mean_variance, variance : float
        Expected: of the mean of a texture, and of its pixels about it.
    """

    def __init__(self, theory: Theory, label: int) -> None:
        recipe, self.theory, self.label = theory.recipe, theory, label
        own, shape = theory.of_class(label), recipe.shape
        columns = multiplicity(shape)
        power = own.reference * columns
        total = float(power.sum())
        tolerance = max(component.tolerance for component in recipe.components)
        used = own.reference >= max(FLOOR, 1e4 * tolerance) * total / math.prod(shape)
        numbers = np.ix_(*(np.fft.fftfreq(n, 1 / n) for n in shape[:-1]), np.arange(shape[-1] // 2 + 1.0))
        if recipe.standardize:  # the mean that was taken away is in these modes
            near = np.logical_and.reduce(np.broadcast_arrays(*(np.abs(m) <= theory.tapered for m in numbers)))
            self._without_mean = np.flatnonzero(near)
            used &= ~near
        else:
            self._without_mean = np.empty(0, np.int64)
        times = np.broadcast_to(columns, used.shape)
        self._used, self._times, self._mean_times = np.flatnonzero(used), times[used], times.flat[self._without_mean]
        k = np.sqrt(sum(np.square(2 * math.pi * m / n) for m, n in zip(numbers, shape, strict=True)))[used]
        self._band = _bands(k, self._times)
        self.bands = int(self._band.max(initial=-1)) + 1
        self.modes = np.bincount(self._band, self._times, self.bands)
        self.wavenumbers = np.bincount(self._band, self._times * k, self.bands) / self.modes
        self.columns, self._column = _columns(numbers, shape, used, self._times)
        self.slopes = own.slopes[:, used]
        self.information = np.einsum("in,jn,n->ij", self.slopes, self.slopes, self._times)
        self._weights = self._times / own.reference[used]
        self.power = np.bincount(self._band, power[used], self.bands) / self.modes
        self.neighbours = _neighbours(theory, label)
        others = [theory.of_class(other).reference[used] for other in self.neighbours]
        self._log_ratios = np.array([(self._times * np.log(own.reference[used] / other)).sum() for other in others])
        self._differences = np.array([self._weights - self._times / other for other in others]).reshape(
            len(others), len(self._times)
        )
        power[used] = 0
        power.flat[self._without_mean] = 0
        rest = float(power.sum())
        self._allowed = rest + max(ROUNDING, tolerance) * total
        self.margin = 1 - rest / self._allowed
        self.rest = self.bands + len(self.columns) + len(recipe.components)
        self.lags = _lags(recipe.length_scales(label), shape)
        expected_rest = float((own.power * (power > 0) * columns).sum()) / self._allowed
        products = [np.mean([own.covariances[axis][lag] for axis in _axes(shape, lag)]) for lag in self.lags]
        self.expected = np.concatenate([self._sums(own.power[used] * self._weights), [expected_rest], products])
        self.mean_variance, self.variance = own.mean_variance, own.variance
        self._scatter = self._exact_scatter(float((power * own.reference).sum())) if theory.exact else None

    def measure(self, image: npt.NDArray[np.floating]) -> Measured:
        """What is computed of one texture."""
        pixels = np.asarray(image, np.float64)
        transform, total = self.theory.transform(pixels)
        power = squared(transform.ravel()[self._used])
        near = float((self._mean_times * squared(transform.ravel()[self._without_mean])).sum())
        rest = total - near - float((self._times * power).sum())
        sums = np.concatenate([self._sums(self._weights * power), [rest / self._allowed], self._products(pixels)])
        return Measured(sums, _moments(pixels), (self._log_ratios + self._differences @ power) / 2)

    def _sums(self, weighted: FloatArray) -> FloatArray:
        """Sums of whitened power, each mode as often as it stands in the whole spectrum."""
        columns = [weighted[modes].sum() for modes in self._column]
        return np.concatenate([np.bincount(self._band, weighted, self.bands), columns, self.slopes @ weighted])

    def _products(self, pixels: FloatArray) -> FloatArray:
        """Mean product of pixels at each lag along an axis, over all axes that are long enough."""
        return np.array([np.mean([_product(pixels, axis, lag) for axis in _axes(pixels.shape, lag)]) for lag in self.lags])

    def scatter(self, references: FloatArray) -> FloatArray:
        """Covariance of the sums: of those of reference draws, and exact where modes are independent."""
        found = np.atleast_2d(np.cov(references.T))
        if self._scatter is not None:
            found[: len(self._scatter), : len(self._scatter)] = self._scatter
        return found

    def _exact_scatter(self, rest: float) -> FloatArray:
        columns = [np.bincount(modes, minlength=len(self._times)) for modes in self._column]
        rows = np.vstack([np.eye(self.bands)[self._band].T, *columns, self.slopes])
        exact = np.zeros((self.rest + 1,) * 2)
        exact[:-1, :-1] = 2 * (rows * self._times) @ rows.T
        exact[-1, -1] = 2 * rest / self._allowed**2
        return exact

    def third_moment(self, weights: FloatArray) -> tuple[float, float]:
        """Second and third cumulant of the sum of whitened power times `weights`, one a mode, of independent modes."""
        return 2 * float((self._times * weights**2).sum()), 8 * float((self._times * weights**3).sum())


def _moments(pixels: FloatArray) -> FloatArray:
    """Mean, variance, skewness and kurtosis."""
    mean = float(pixels.mean())
    centred = pixels - mean
    squares = np.square(centred)
    variance = float(squares.mean())
    if variance < NO_VARIANCE:
        raise GptexError("textures that are constant, or of one pixel, have no statistics")
    skewness = dot(squares, centred) / pixels.size / variance**1.5
    return np.array([mean, variance, skewness, dot(squares, squares) / pixels.size / variance**2])


class References:
    """Textures of a class drawn for comparison: the scatter of its statistics, and what standardization does to them.

    Attributes
    ----------
    sums, moments, ratios : arrays with a row a draw
        As in `Measured`.
    shift : array
        Of the expected sums by standardization.
    shift_error : array
        Covariance of its error.
    """

    def __init__(self, statistics: ClassStatistics, draws: int, threads: Executor) -> None:
        self._statistics, self._recipe = statistics, statistics.theory.recipe
        self._samplers = [self._recipe.sampler(*each) for each in enumerate(self._recipe.choices(statistics.label))]
        drawn = list(threads.map(self._draw, range(draws)))
        self.sums = np.array([each.sums for each, _ in drawn])
        self.moments = np.array([each.moments for each, _ in drawn])
        self.ratios = np.array([each.ratios for each, _ in drawn])
        shifts = self.sums - np.array([plain.sums for _, plain in drawn])
        self.shift = shifts.mean(axis=0)
        self.shift_error = np.atleast_2d(np.cov(shifts.T)) / draws

    def _draw(self, number: int) -> tuple[Measured, Measured]:
        """What is measured of a texture, and of the same without standardization. The random numbers are no dataset's."""
        recipe, measure = self._recipe, self._statistics.measure
        bits = np.random.default_rng([recipe.seed, self._statistics.label, number])
        fields = [sampler(int(seed)) for sampler, seed in zip(self._samplers, bits.integers(2**63, size=9), strict=False)]
        noise = recipe.noise_std * bits.standard_normal(recipe.shape) if recipe.noise_std else 0.0

        def textures(parts: Sequence[npt.NDArray[np.floating]]) -> Measured:
            total: Any = sum(c.weight * part for c, part in zip(recipe.components, parts, strict=True)) + noise
            return measure(total.astype(recipe.dtype))

        plain = textures(fields)
        if not recipe.standardize:
            return plain, plain
        return textures([(field - field.mean()) / field.std() for field in fields]), plain


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
    first, second = (pixels[(slice(None),) * axis + (part,)] for part in (slice(lag, None), slice(pixels.shape[axis] - lag)))
    return dot(first, second) / first.size


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


def with_estimated_scatter(p: float, freedom: int) -> float:
    """p when the variance was estimated, with that freedom: the same deviation with the tails of Student's t."""
    if p <= 0:
        return 0.0
    return float(2 * special.stdtr(freedom, special.ndtri(p / 2)))


def overlaps(ratios: FloatArray) -> FloatArray:
    """By what log likelihood ratios must be divided so that E exp(ratio) ≤ 1, as of true likelihoods; rows are draws.

    Modes that are not independent say the same more than once. A normal ratio needs a variance of -2 times its mean at most.
    """
    mean, variance = ratios.mean(axis=0), ratios.var(axis=0, ddof=1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(np.where(mean < 0, np.maximum(variance / (-2 * mean), 1.0), np.inf))


def rank_scores(values: FloatArray, references: FloatArray) -> tuple[float, float]:
    """Sum of the normal scores of `values` among both, and its variance if both are of one distribution (van der Waerden).

    What is equal, to rounding, shares its rank.
    """
    n, m = len(values), len(references)
    _, place, counts = np.unique(np.concatenate([values, references]).round(9), return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[place]
    scores = special.ndtri(ranks / (n + m + 1))
    scores -= scores.mean()
    return float(scores[:n].sum()), n * m / ((n + m) * (n + m - 1)) * float(np.square(scores).sum())
