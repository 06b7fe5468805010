"""The certificate of a dataset: what was measured of each class, the tests, and the verdict."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from gptex.store.progress import counted


@dataclass(frozen=True)
class Check:
    """A test and its result.

    Attributes
    ----------
    kind : {"band", "mean", "variance", "length scale", "marginals", "label", "duplicate", "values"}
    what : str
        Of what, in words.
    measured, expected, error : float
        In the units of `what`; `error` is one standard deviation of `measured`. All are NaN where there is nothing to measure.
    p : float
        Probability of a deviation as large or larger, if the dataset is right.
    """

    kind: str
    what: str
    measured: float
    expected: float
    error: float
    p: float


@dataclass(frozen=True)
class ClassReport:
    """What was measured of a class.

    Attributes
    ----------
    name : str
    textures : int
    mean, variance : tuple of (measured, error)
        Of pixels, and one standard deviation.
    length_scales : list of (label, measured, error, smallest deviation found in 99 of 100 such datasets)
        In pixels.
    spectrum : list of (wave number in radians a pixel, measured power, expected power, error)
    autocovariance : list of (lag in pixels, measured, expected, error)
    """

    name: str
    textures: int
    mean: tuple[float, float]
    variance: tuple[float, float]
    length_scales: list[tuple[float, float, float, float]]
    spectrum: list[tuple[float, float, float, float]]
    autocovariance: list[tuple[float, float, float, float]]


@dataclass(frozen=True)
class Certificate:
    """Whether the statistics of a dataset are those of its labels.

    Attributes
    ----------
    name : str
        Of the dataset.
    textures : int
        Looked at.
    false_alarm : float
        Probability that a right dataset fails, whatever the number of tests.
    tests : list of Check
    classes : list of ClassReport
    """

    name: str
    textures: int
    false_alarm: float
    tests: list[Check]
    classes: list[ClassReport] = field(repr=False)

    @property
    def level(self) -> float:
        """The p of a single test below which it fails."""
        return self.false_alarm / max(len(self.tests), 1)

    @property
    def failures(self) -> list[Check]:
        """Tests that failed, the worst one first."""
        return sorted((test for test in self.tests if test.p < self.level), key=lambda test: test.p)

    @property
    def passed(self) -> bool:
        """Whether no test failed."""
        return not self.failures

    def to_json(self) -> str:
        """All of it as JSON, with null for what is not finite."""
        found = _jsonable({"passed": self.passed, "level": self.level, **asdict(self)})
        return json.dumps(found, indent=1, ensure_ascii=False, allow_nan=False)

    def __repr__(self) -> str:
        verdict = "passed" if self.passed else f"failed {counted(len(self.failures), 'test')}"
        return f"Certificate({self.name!r}: {self.textures} textures, {verdict} of {len(self.tests)})"

    def __str__(self) -> str:
        lines = [f"{self.name}: {counted(self.textures, 'texture')} in {counted(len(self.classes), 'class')}", ""]
        lines += _table(self.classes)
        worst = min((test.p for test in self.tests), default=1.0)
        lines += ["", *(f"FAILED  {test.kind}: {test.what}: {_found(test)}" for test in self.failures[:20])]
        if len(self.failures) > 20:
            lines.append(f"… and {len(self.failures) - 20} more")
        verdict = "passed" if self.passed else "FAILED"
        lines.append(
            f"{verdict}: {counted(len(self.tests), 'test')}, the smallest p is {worst:.2g}; a test fails below "
            f"{self.level:.2g}, so that a right dataset fails once in {1 / self.false_alarm:,.0f}"
        )
        return "\n".join(lines)


def _table(classes: Sequence[ClassReport]) -> list[str]:
    """Classes, their variance and their length scales, in columns."""
    rows = [("class", "textures", "mean", "variance", "length scales found (smallest deviation that 99 in 100 show)")]
    for each in classes:
        scales = ", ".join(
            f"{found:.4g} ± {_digit(error)} ({_digit(smallest)})" for _, found, error, smallest in each.length_scales
        )
        mean, variance = (f"{value:.3g} ± {_digit(error)}" for value, error in (each.mean, each.variance))
        rows.append((each.name, str(each.textures), mean, variance, scales))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def _digit(error: float) -> str:
    """An error to one digit."""
    return f"{float(f'{error:.1g}'):g}"


def _jsonable(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _jsonable(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_jsonable(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _found(test: Check) -> str:
    if math.isnan(test.measured):
        return "there is one"
    return f"{test.measured:.4g} in place of {test.expected:.4g} ± {test.error:.2g} (p = {test.p:.2g})"
