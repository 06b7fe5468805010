"""Examination: are the statistics of what lies in the shards of a dataset those of its labels?

Four kinds of test, all of them two-sided, share the false-alarm rate equally (Bonferroni):

- *band*: the power of a class in a band of wave numbers against theory, as a sum of gamma variables; and so that of the
  columns of modes that are their own conjugates along an axis;
- *length scale*: the deviation of each length scale from its label, by the score of Whittle's likelihood;
- *marginals*: skewness and kurtosis of textures among those of reference draws (van der Waerden's rank test);
- *label*: whether a texture looks much more like one of a neighbouring class. The likelihood ratio of a wrong class to the
  right one is above K with a probability of at most 1 / K.

Besides, every texture must be finite, not constant, and there only once. The expected powers come from the closed form of the
kernels (`gptex.trust.theory`); reference draws, of the recipe under another seed, give the scatter of what is summed up, and
what standardization changes. For unstandardized periodic fields the scatter is known exactly, too.
"""

from __future__ import annotations

import hashlib
import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from gptex.catalog import find_recipe, preset, presets
from gptex.errors import GptexError
from gptex.fields.kernels import FloatArray
from gptex.recipe import Recipe, scale_name
from gptex.store.manifest import Manifest
from gptex.store.progress import Progress
from gptex.store.progress import progress as show_progress
from gptex.store.reader import SplitReader
from gptex.store.workers import available_cores
from gptex.trust.certificate import Certificate, ClassReport, Test
from gptex.trust.statistics import ClassStatistics, Measured, gamma_p, rank_scores, skewed_p, with_estimated_scatter
from gptex.trust.theory import Theory

FALSE_ALARM = 1e-3
REFERENCES = 128  # draws a class
POWER = 0.99  # chance to find the smallest deviation of a length scale that is stated


class Place(NamedTuple):
    """Where a texture is."""

    split: str
    number: int


def certify(
    path: str | Path,
    *,
    against: Recipe | str | Path | None = None,
    limit: int | None = None,
    false_alarm: float = FALSE_ALARM,
    progress: bool = True,
) -> Certificate:
    """Compare the statistics of what lies in the shards of a dataset with theory.

    Hashes are `gptex.verify`'s business; this looks at the pixels, whoever drew them.

    Parameters
    ----------
    path : path
        The dataset's folder.
    against : Recipe, str or path, optional
        What textures from elsewhere should be: a recipe with the same classes, its file, or a preset's name. By default the
        dataset's own recipe, or the preset of its name.
    limit : int, optional
        Largest number of textures of a class to look at.
    false_alarm : float
        Probability that a right dataset fails.
    progress : bool
        Show how far it is.

    Raises
    ------
    DatasetError
        If a shard cannot be read.
    GptexError
        If there is nothing to compare with, or a value is out of range.
    """
    if not 0 < false_alarm < 1 or (limit is not None and limit < 1):
        raise GptexError(f"false_alarm is between 0 and 1 and limit at least 1, not {false_alarm} and {limit}")
    manifest = Manifest.read(path)
    recipe = theory_of(manifest, against)
    readers = {split: SplitReader(path, split) for split in manifest.splits}
    places: dict[int, list[Place]] = {label: [] for label in range(recipe.n_classes)}
    for split, reader in readers.items():
        for index, label in enumerate(reader.labels.tolist()):
            places[label].append(Place(split, index))
    chosen = {label: _some(found, limit) for label, found in places.items() if found}
    theory = Theory(recipe)
    reading = threading.Lock()  # readers are for one thread
    digests: dict[bytes, Place] = {}
    tests: list[Test] = []
    classes: list[ClassReport] = []
    scores: list[tuple[FloatArray, FloatArray]] = []
    total = sum(map(len, chosen.values()))

    def look(statistics: ClassStatistics, place: Place) -> Measured | Test:
        with reading:
            image = readers[place.split].read([place.number]).images[0]
        wrong = _wrong_values(image, place) or _copied(image, place, digests)
        return wrong or statistics.measure(image)

    with ThreadPoolExecutor(available_cores()) as threads, show_progress("certify", total, progress) as bar:
        for label, there in chosen.items():
            statistics = ClassStatistics(theory, label)
            found = list(threads.map(lambda place, at=statistics: _told(look(at, place), bar), there))
            tests += [each for each in found if isinstance(each, Test)]
            measured = [each for each in found if isinstance(each, Measured)]
            if not measured:
                continue
            references = _References(recipe, statistics, threads)
            report, more = _compare(recipe, statistics, measured, references, false_alarm / (20 * len(chosen)))
            classes.append(report)
            tests += more
            scores.append((np.array([each.moments[2:] for each in measured]), references.moments[:, 2:]))
    tests += _marginal_tests(scores)
    return Certificate(recipe.name if manifest.source is None else manifest.source.name, total, false_alarm, tests, classes)


def _told(result: Measured | Test, bar: Progress) -> Measured | Test:
    bar.add(1, 0)
    return result


def theory_of(manifest: Manifest, against: Recipe | str | Path | None) -> Recipe:
    """The recipe to compare with."""
    contents = manifest.contents
    if against is None and isinstance(contents, Recipe):
        return contents
    if against is None and contents.name in presets():
        against = preset(contents.name)
    if against is None:
        raise GptexError(f"{contents.name!r} has no recipe: say what its textures should be (--against RECIPE)")
    recipe = against if isinstance(against, Recipe) else find_recipe(against)
    scales = [[each.length_scales(label) for label in range(each.n_classes)] for each in (recipe, contents)]
    if recipe.shape != contents.shape or scales[0] != scales[1]:
        raise GptexError(f"{recipe.name!r} has another shape or other classes than {contents.name!r}: nothing to compare")
    return recipe


def _some(places: list[Place], limit: int | None) -> list[Place]:
    """At most `limit` of them, evenly spaced."""
    if limit is None or len(places) <= limit:
        return places
    return [places[n * len(places) // limit] for n in range(limit)]


def _wrong_values(image: npt.NDArray[Any], place: Place) -> Test | None:
    """A failed test where a texture is no texture."""
    where = f"texture {place.number} of split {place.split}"
    if not np.isfinite(image).all():
        return Test("values", f"{where} has values that are not finite", math.nan, math.nan, math.nan, 0.0)
    if image.size > 1 and image.min() == image.max():
        return Test("values", f"{where} is constant", math.nan, math.nan, math.nan, 0.0)
    return None


def _copied(image: npt.NDArray[Any], place: Place, digests: dict[bytes, Place]) -> Test | None:
    """A failed test where a texture was there before."""
    first = digests.setdefault(hashlib.sha256(np.ascontiguousarray(image).data).digest(), place)
    if first == place:
        return None
    what = f"texture {place.number} of split {place.split} is texture {first.number} of split {first.split} again"
    return Test("duplicate", what, math.nan, math.nan, math.nan, 0.0)


class _References:
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

    def __init__(self, recipe: Recipe, statistics: ClassStatistics, threads: ThreadPoolExecutor) -> None:
        other = recipe.replace(seed=(recipe.seed + 1) % 2**128)
        plain = other.replace(standardize=False) if recipe.standardize else None
        split = "reference"

        def draw(n: int) -> tuple[Measured, FloatArray | None]:
            index = statistics.label + n * recipe.n_classes
            drawn = statistics.measure(other.texture(split, index).image)
            return drawn, statistics.measure(plain.texture(split, index).image).sums if plain else None

        drawn = list(threads.map(draw, range(REFERENCES)))
        self.sums = np.array([each.sums for each, _ in drawn])
        self.moments = np.array([each.moments for each, _ in drawn])
        self.ratios = np.array([each.ratios for each, _ in drawn])
        shifts = np.array([each.sums - before for each, before in drawn if before is not None]).reshape(-1, self.sums.shape[1])
        self.shift = shifts.mean(axis=0) if len(shifts) else np.zeros(self.sums.shape[1])
        self.shift_error = np.cov(shifts.T) / len(shifts) if len(shifts) else np.zeros((self.sums.shape[1],) * 2)


def _compare(
    recipe: Recipe, statistics: ClassStatistics, measured: Sequence[Measured], references: _References, level: float
) -> tuple[ClassReport, list[Test]]:
    """The report of a class and its tests."""
    count, bands, name = len(measured), statistics.bands, recipe.classes[statistics.label]
    sums = np.mean([each.sums for each in measured], axis=0)
    expected = statistics.expected + references.shift
    scatter = np.atleast_2d(np.cov(references.sums.T))
    exact = statistics.exact_scatter
    if exact is not None:
        scatter[: len(exact), : len(exact)] = exact
    variance = scatter / count + references.shift_error
    errors = np.sqrt(np.diagonal(variance))

    def p_of(p: float) -> float:
        return p if exact is not None else with_estimated_scatter(p, REFERENCES)

    tests = []
    where = [f"power at {k:.3g} radians a pixel" for k in statistics.wavenumbers] + statistics.columns
    for band, words in enumerate(where):
        p = p_of(gamma_p(sums[band] / expected[band], variance[band, band] / expected[band] ** 2))
        measured_share, error = sums[band] / expected[band], errors[band] / expected[band]
        tests.append(Test("band", f"class {name}, {words} against theory", measured_share, 1.0, error, p))
    scales, more = _length_scales(recipe, statistics, sums, expected, variance, count, p_of, level)
    tests += more
    tests += _label_tests(recipe, statistics, measured, references)
    moments = np.array([each.moments[:2] for each in measured]).mean(axis=0)
    spread = references.moments[:, :2].std(axis=0, ddof=1) / math.sqrt(count)
    ratio = statistics.power / statistics.modes
    lags = slice(len(where) + len(recipe.components), None)
    report = ClassReport(
        name=name,
        textures=count,
        mean=(float(moments[0]), float(spread[0])),
        variance=(float(moments[1]), float(spread[1])),
        length_scales=scales,
        spectrum=_rows(statistics.wavenumbers, sums[:bands] * ratio, expected[:bands] * ratio, errors[:bands] * ratio),
        autocovariance=_rows(np.array(statistics.lags, float), sums[lags], expected[lags], errors[lags]),
    )
    return report, tests


def _rows(*columns: FloatArray) -> list[tuple[float, float, float, float]]:
    return [(a, b, c, d) for a, b, c, d in zip(*(column.tolist() for column in columns), strict=True)]


def _length_scales(
    recipe: Recipe,
    statistics: ClassStatistics,
    sums: FloatArray,
    expected: FloatArray,
    variance: FloatArray,
    count: int,
    p_of: Callable[[float], float],
    level: float,
) -> tuple[list[tuple[float, float, float, float]], list[Test]]:
    """Estimates by one step of Fisher scoring on Whittle's likelihood, and tests of their deviation from the labels."""
    first = statistics.bands + len(statistics.columns)
    part = slice(first, first + len(recipe.components))
    inverse = np.linalg.pinv(statistics.information)
    deviation = inverse @ (sums - expected)[part]  # of log(length scale)
    covariance = inverse @ variance[part, part] @ inverse
    rows, tests = [], []
    for number, label in enumerate(recipe.length_scales(statistics.label)):
        error = math.sqrt(covariance[number, number])
        second, third = statistics.third_moment(inverse[number] @ statistics.slopes)
        overlap = max(covariance[number, number] * count / second, 1e-12)  # more than 1 where modes are not independent
        skewness = third * overlap**2 / (second * overlap) ** 1.5 / math.sqrt(count)
        p = p_of(skewed_p(deviation[number] / error, skewness))
        smallest = error * float(special.ndtri(POWER) - special.ndtri(level / 2))
        found = label * math.exp(deviation[number])
        rows.append((label, found, label * error, label * smallest))
        what = f"class {recipe.classes[statistics.label]}, {recipe.components[number].name} length scale {scale_name(label)}"
        tests.append(Test("length scale", what, found, label, label * error, p))
    return rows, tests


def _label_tests(
    recipe: Recipe, statistics: ClassStatistics, measured: Sequence[Measured], references: _References
) -> list[Test]:
    """One test: whether some texture looks much more like a neighbouring class."""
    if not statistics.neighbours:
        return []
    used = statistics.modes.sum()
    whitened = references.sums[:, : statistics.bands].sum(axis=1)
    overlap = max(float(whitened.var(ddof=1)) / (2 * used), 1.0)  # more than 1 where modes are not independent
    ratios = np.array([each.ratios for each in measured]) / overlap
    worst, other = np.unravel_index(int(ratios.argmax()), ratios.shape)
    p = min(1.0, ratios.size * math.exp(-min(float(ratios.max()), 700.0)))
    names = recipe.classes[statistics.label], recipe.classes[statistics.neighbours[int(other)]]
    what = f"class {names[0]}, its texture number {int(worst)}: log likelihood ratio of class {names[1]}"
    return [Test("label", what, float(ratios.max()), 0.0, 1.0, p)]


def _marginal_tests(scores: Sequence[tuple[FloatArray, FloatArray]]) -> list[Test]:
    """Skewness and kurtosis of all textures among those of reference draws."""
    tests = []
    for column, name in enumerate(("skewness", "kurtosis")) if scores else ():
        ranked = [rank_scores(values[:, column], references[:, column]) for values, references in scores]
        total, variance = (sum(part) for part in zip(*ranked, strict=True))
        z = total / math.sqrt(variance)
        tests.append(
            Test("marginals", f"{name} of the textures, as a normal score", z, 0.0, 1.0, float(2 * special.ndtr(-abs(z))))
        )
    return tests
