"""What a classifier reached on textures: the best there is, or a net."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from gptex.recipe import Recipe
from gptex.store.source import Contents

CONFIDENCE = 0.95


@dataclass(frozen=True, kw_only=True)
class Classification:
    """Textures named by a classifier.

    Attributes
    ----------
    textures : int
        Classified.
    accuracy : float
    interval : (float, float)
        Of the accuracy, with 95 % confidence (Wilson).
    components : dict of str to float
        Share of textures whose length scale of each component was named right.
    confusion : tuple of tuple of int
        Textures of each class (row) that were taken for each class (column).
    """

    textures: int
    accuracy: float
    interval: tuple[float, float]
    components: dict[str, float]
    confusion: tuple[tuple[int, ...], ...]

    @property
    def accuracy_text(self) -> str:
        """The accuracy with its interval, for people."""
        low, high = self.interval
        return f"accuracy {self.accuracy:.3f} (95 % interval {low:.3f} to {high:.3f}, {self.textures} textures)"

    @property
    def components_text(self) -> str:
        """The share of each component, for people."""
        return "length scales named right: " + ", ".join(f"{name} {share:.3f}" for name, share in self.components.items())


def classification(contents: Contents, confusion: npt.NDArray[np.int64]) -> dict[str, Any]:
    """The fields of a Classification, from a confusion matrix with at least one texture."""
    count, hits = int(confusion.sum()), int(np.trace(confusion))
    scales = np.array([contents.length_scales(label) for label in range(contents.n_classes)])
    same = scales[:, None] == scales[None]  # class, class, component
    right = np.tensordot(confusion, same, axes=2) / count
    return {
        "textures": count,
        "accuracy": hits / count,
        "interval": wilson(hits, count),
        "components": dict(zip(component_names(contents), right.tolist(), strict=True)),
        "confusion": tuple(map(tuple, confusion.tolist())),
    }


def component_names(contents: Contents) -> list[str]:
    """Of a recipe the names of its components; textures from elsewhere have numbers."""
    if isinstance(contents, Recipe):
        return [component.name for component in contents.components]
    return [f"component-{number}" for number in range(1, len(contents.length_scales(0)) + 1)]


def wilson(hits: int, count: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Wilson's score interval of a share (Wilson 1927)."""
    z = float(special.ndtri((1 + confidence) / 2))
    share, weight = hits / count, z**2 / count
    middle = (share + weight / 2) / (1 + weight)
    half = z * math.sqrt(share * (1 - share) / count + weight / (4 * count)) / (1 + weight)
    return (middle - half if hits > 0 else 0.0), (middle + half if hits < count else 1.0)  # but for rounding
