"""Examination: are the statistics of what lies in the shards of a dataset those of its labels?

All tests share the false-alarm rate equally (Bonferroni):

- *band*: the power of a class in a band of wave numbers against theory, as a sum of gamma variables; and so that of the
  columns of modes that are their own conjugates along an axis, and whether there is more power than rounding and the declared
  error leave in the modes where theory has next to none;
- *mean* and *variance* of the pixels of a class;
- *length scale*: the deviation of each length scale from its label, by the score of Whittle's likelihood;
- *marginals*: skewness and kurtosis of textures among those of reference draws (van der Waerden's rank test);
- *label*: whether a texture looks much more like one of a neighbouring class. The likelihood ratio of a wrong class to the
  right one is above K with a probability of at most 1 / K.

Besides, every texture must be finite, not constant, and there only once. The expected powers come from the closed form of the
kernels (`gptex.trust.theory`); reference draws of the recipe give the scatter of what is summed up, and
what standardization changes. For unstandardized periodic fields the scatter is known exactly, too.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import replace
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
from gptex.trust.certificate import Certificate, Check, ClassReport
from gptex.trust.statistics import (
    NO_VARIANCE,
    ClassStatistics,
    Measured,
    References,
    gamma_p,
    overlaps,
    rank_scores,
    skewed_p,
    with_estimated_scatter,
)
from gptex.trust.theory import Theory

FALSE_ALARM = 1e-3
REFERENCES = 128  # draws a class
FREEDOM = REFERENCES - 1  # of the scatter that is estimated from them
SMALL = 1e-4  # deviations of mean, variance and remaining power, of which rounding has its share
POWER = 0.99  # chance to find the smallest deviation of a length scale that is stated


Image = npt.NDArray[np.floating[Any]]


class Place(NamedTuple):
    """Where a texture is."""

    split: str
    number: int

    def __str__(self) -> str:
        return f"texture {self.number} of split {self.split}"


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
    if not 0 < false_alarm < 1:
        raise GptexError(f"the false-alarm rate is between 0 and 1, not {false_alarm}")
    if limit is not None and limit < 1:
        raise GptexError(f"at least one texture of a class is looked at, not {limit}")
    manifest = Manifest.read(path)
    recipe = theory_of(manifest, against)
    readers = {split: SplitReader(path, split) for split in manifest.splits}
    places: dict[int, list[Place]] = {label: [] for label in range(recipe.n_classes)}
    for split, reader in readers.items():
        for index, label in enumerate(reader.labels.tolist()):
            places[label].append(Place(split, index))
    chosen = {label: _some(found, limit) for label, found in places.items() if found}

    def read(place: Place) -> Image:
        image: Image = readers[place.split].read([place.number]).images[0]
        return image

    total = sum(map(len, chosen.values()))
    with ThreadPoolExecutor(available_cores()) as threads, show_progress("certify", total, progress) as bar:
        examination = Examination(recipe, threads, bar)
        for label, there in chosen.items():
            examination.add(label, there, read)
    return examination.certificate(manifest.contents.name, false_alarm)


def theory_of(manifest: Manifest, against: Recipe | str | Path | None) -> Recipe:
    """The recipe to compare with."""
    contents = manifest.contents
    if against is None and isinstance(contents, Recipe):
        return contents
    if against is None and contents.name in presets():
        against = preset(contents.name)
    if against is None:
        raise GptexError(
            f"{contents.name!r} has no recipe: say what its textures should be (--against RECIPE of gptex verify and reference)"
        )
    recipe = find_recipe(against)
    scales = [[each.length_scales(label) for label in range(each.n_classes)] for each in (recipe, contents)]
    if recipe.shape != contents.shape or scales[0] != scales[1]:
        raise GptexError(f"{recipe.name!r} has another shape or other classes than {contents.name!r}: nothing to compare")
    return recipe.replace(dtype=contents.dtype)


def _some(places: list[Place], limit: int | None) -> list[Place]:
    """At most `limit` of them, evenly spaced."""
    if limit is None or len(places) <= limit:
        return places
    return [places[n * len(places) // limit] for n in range(limit)]


class Examination:
    """The tests of a dataset, class by class.

    Parameters
    ----------
    recipe : Recipe
        What the textures should be.
    threads : Executor
    bar : Progress
    """

    def __init__(self, recipe: Recipe, threads: Executor, bar: Progress) -> None:
        self._recipe, self._threads, self._bar = recipe, threads, bar
        if sum(component.weight**2 for component in recipe.components) + recipe.noise_std**2 < NO_VARIANCE:
            raise GptexError(f"the textures of {recipe.name!r} are next to constant: they have no statistics")
        self._theory = Theory(recipe)
        self._digests: dict[bytes, Place] = {}
        self._textures = 0
        self._tests: list[Check] = []
        self._reports: list[ClassReport] = []
        self._scores: list[tuple[FloatArray, FloatArray]] = []

    def add(self, label: int, places: Sequence[Place], read: Callable[[Place], Image]) -> None:
        """Examine the textures of a class, which any thread may read."""
        statistics = ClassStatistics(self._theory, label)

        def look(place: Place) -> tuple[bytes, Measured] | Check:
            image = read(place)
            wrong = _wrong_values(image, place)
            return wrong or (hashlib.sha256(np.ascontiguousarray(image).data).digest(), statistics.measure(image))

        measured = {}
        for place, found in zip(places, self._threads.map(look, places), strict=True):
            self._textures += 1
            self._bar.add(1, self._recipe.texture_bytes)
            if isinstance(found, Check):
                self._tests.append(found)
            elif (first := self._digests.setdefault(found[0], place)) != place:
                self._tests.append(_fault("duplicate", f"{place} is {first} again"))
            else:
                measured[place] = found[1]
        if measured:
            references = References(statistics, REFERENCES, self._threads)
            report, tests = _compare(statistics, measured, references)
            self._reports.append(report)
            self._tests += tests
            self._scores.append((np.array([each.moments[2:] for each in measured.values()]), references.moments[:, 2:]))

    def certificate(self, name: str, false_alarm: float) -> Certificate:
        """What was found, of a dataset with this name."""
        tests = self._tests + _marginal_tests(self._scores)
        certificate = Certificate(name, self._textures, false_alarm, tests, self._reports)
        z = -float(
            special.ndtri(certificate.level / 2) if self._theory.exact else special.stdtrit(FREEDOM, certificate.level / 2)
        )
        factor = z + float(special.ndtri(POWER))

        def told(report: ClassReport) -> ClassReport:
            rows = [(label, found, error, error * factor) for label, found, error, _ in report.length_scales]
            return replace(report, length_scales=rows)

        return replace(certificate, classes=[told(report) for report in self._reports])


def _wrong_values(image: Image, place: Place) -> Check | None:
    """A failed test where a texture is no texture."""
    if not np.isfinite(image).all():
        return _fault("values", f"{place} has values that are not finite")
    if image.size > 1 and image.min() == image.max():
        return _fault("values", f"{place} is constant")
    return None


def _fault(kind: str, what: str) -> Check:
    """What no right dataset has."""
    return Check(kind, what, math.nan, math.nan, math.nan, 0.0)


def _compare(
    statistics: ClassStatistics, measured: Mapping[Place, Measured], references: References
) -> tuple[ClassReport, list[Check]]:
    """The report of a class and its tests."""
    theory, bands, recipe = statistics.theory, statistics.bands, statistics.theory.recipe
    count, name = len(measured), f"class {recipe.classes[statistics.label]}"
    sums = np.mean([each.sums for each in measured.values()], axis=0)
    expected = statistics.expected + references.shift
    variance = statistics.scatter(references.sums) / count + references.shift_error
    errors = np.sqrt(np.diagonal(variance))

    def p_of(p: float) -> float:
        return p if theory.exact else with_estimated_scatter(p, FREEDOM)

    tests = []
    where = [f"power at {k:.3g} radians a pixel" for k in statistics.wavenumbers] + statistics.columns
    for band, words in enumerate(where):
        share, error = sums[band] / expected[band], errors[band] / expected[band]
        tests.append(Check("band", f"{name}, {words} against theory", share, 1.0, error, p_of(gamma_p(share, error**2))))
    tests.append(_rest_test(name, statistics, sums, expected, errors, p_of))
    moments = np.array([each.moments[:2] for each in measured.values()])
    mean, pixels = moments.mean(axis=0).tolist()
    mean_error = math.sqrt(statistics.mean_variance / count + SMALL**2 * statistics.variance)
    tests.append(Check("mean", f"{name}, mean of the pixels", mean, 0.0, mean_error, _normal_p(mean / mean_error)))
    spread = math.hypot(float(references.moments[:, 1].std(ddof=1)) / math.sqrt(count), SMALL * statistics.variance)
    p = with_estimated_scatter(gamma_p(pixels / statistics.variance, (spread / statistics.variance) ** 2), FREEDOM)
    tests.append(Check("variance", f"{name}, variance of the pixels", pixels, statistics.variance, spread, p))
    scales, more = _length_scales(statistics, sums - expected, variance, count, p_of)
    tests += more
    tests += _label_tests(statistics, measured, references)
    ratio = statistics.power / statistics.modes
    lags = slice(statistics.rest + 1, None)
    report = ClassReport(
        name=recipe.classes[statistics.label],
        textures=count,
        mean=(mean, mean_error),
        variance=(pixels, spread),
        length_scales=scales,
        spectrum=_rows(statistics.wavenumbers, sums[:bands] * ratio, expected[:bands] * ratio, errors[:bands] * ratio),
        autocovariance=_rows(np.array(statistics.lags, float), sums[lags], expected[lags], errors[lags]),
    )
    return report, tests


def _rest_test(
    name: str,
    statistics: ClassStatistics,
    sums: FloatArray,
    expected: FloatArray,
    errors: FloatArray,
    p_of: Callable[[float], float],
) -> Check:
    """Whether there is more power than there may be in the modes which theory leaves next to none."""
    most = expected[statistics.rest] + statistics.margin
    share, error = sums[statistics.rest] / most, errors[statistics.rest] / most
    p = p_of(gamma_p(share, max(error, SMALL) ** 2)) if share > 1 else 1.0
    return Check("band", f"{name}, power where there is next to none", share, 1.0, error, p)


def _rows(*columns: FloatArray) -> list[tuple[float, float, float, float]]:
    return [(a, b, c, d) for a, b, c, d in zip(*(column.tolist() for column in columns), strict=True)]


def _length_scales(
    statistics: ClassStatistics, difference: FloatArray, variance: FloatArray, count: int, p_of: Callable[[float], float]
) -> tuple[list[tuple[float, float, float, float]], list[Check]]:
    """Estimates by one step of Fisher scoring on Whittle's likelihood, and tests of their deviation from the labels."""
    recipe = statistics.theory.recipe
    part = slice(statistics.rest - len(recipe.components), statistics.rest)
    inverse = np.linalg.pinv(statistics.information)
    deviation = inverse @ difference[part]  # of log(length scale)
    covariance = inverse @ variance[part, part] @ inverse
    rows, tests = [], []
    for number, label in enumerate(recipe.length_scales(statistics.label)):
        if covariance[number, number] <= 0:  # a component that cannot be seen
            rows.append((label, math.nan, math.inf, math.inf))
            continue
        error = math.sqrt(covariance[number, number])
        second, third = statistics.third_moment(inverse[number] @ statistics.slopes)
        overlap = covariance[number, number] * count / second  # more than 1 where modes are not independent
        skewness = third * overlap**2 / (second * overlap) ** 1.5 / math.sqrt(count)
        p = p_of(skewed_p(deviation[number] / error, skewness))
        found = label * math.exp(deviation[number])
        rows.append((label, found, label * error, math.nan))
        name, component = recipe.classes[statistics.label], recipe.components[number].name
        tests.append(
            Check("length scale", f"class {name}, {component} length scale {scale_name(label)}", found, label, label * error, p)
        )
    return rows, tests


def _label_tests(statistics: ClassStatistics, measured: Mapping[Place, Measured], references: References) -> list[Check]:
    """One test: whether some texture looks much more like a neighbouring class."""
    if not statistics.neighbours:
        return []
    ratios = np.array([each.ratios for each in measured.values()])
    if not statistics.theory.exact:
        ratios /= overlaps(references.ratios)
    worst, other = np.unravel_index(int(ratios.argmax()), ratios.shape)
    highest, classes = float(ratios.max()), statistics.theory.recipe.classes
    p = min(1.0, ratios.size * math.exp(-min(max(highest, 0.0), 700.0)))
    name, like = classes[statistics.label], classes[statistics.neighbours[int(other)]]
    what = f"{list(measured)[int(worst)]}, of class {name}: log likelihood ratio of class {like}"
    return [Check("label", what, highest, 0.0, 1.0, p)]


def _normal_p(z: float) -> float:
    return float(2 * special.ndtr(-abs(z)))


def _marginal_tests(scores: Sequence[tuple[FloatArray, FloatArray]]) -> list[Check]:
    """Skewness and kurtosis of all textures among those of reference draws."""
    tests = []
    for column, name in enumerate(("skewness", "kurtosis")) if scores else ():
        ranked = [rank_scores(values[:, column], references[:, column]) for values, references in scores]
        total, variance = (sum(part) for part in zip(*ranked, strict=True))
        z = total / math.sqrt(variance) if variance > 0 else 0.0
        tests.append(Check("marginals", f"{name} of the textures, as a normal score", z, 0.0, 1.0, _normal_p(z)))
    return tests
