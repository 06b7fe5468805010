"""Means over seeds, and how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
from scipy import special

from gptex.trust.classification import CONFIDENCE


@dataclass(frozen=True)
class Mean:
    """A mean over seeds, and half of its 95 % interval (Student's t)."""

    value: float
    half: float

    @classmethod
    def of(cls, numbers: Sequence[float]) -> Self:
        """Of these numbers; of a single one the interval is infinite.

        >>> print(Mean.of([1.0, 2.0, 3.0]))
        2.000 ± 2.484
        """
        count = len(numbers)
        if count == 1:
            return cls(float(numbers[0]), math.inf)
        t = float(special.stdtrit(count - 1, (1 + CONFIDENCE) / 2))
        return cls(float(np.mean(numbers)), t * float(np.std(numbers, ddof=1)) / math.sqrt(count))

    def __str__(self) -> str:
        return f"{self.value:.3f} ± {self.half:.3f}" if math.isfinite(self.half) else f"{self.value:.3f}"
