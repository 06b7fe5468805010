"""Charts of a report: the histogram of pixels, and what was measured of a class against theory. Needs matplotlib."""

from __future__ import annotations

import base64
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from gptex.pictures import new_figure
from gptex.recipe import Recipe
from gptex.show.textures import Textures
from gptex.store.manifest import Manifest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BAND = 1.96  # standard deviations that hold 95 of 100 values
PIXELS = 2**24  # in a histogram at most, but for one texture
TEXTURES = 64
BINS = 120
REACH = 5.0  # standard deviations, of a histogram
MEASURED, THEORY, SHADE = "#b3400f", "#24577a", "#a9c9de"
Rows = Sequence[tuple[float, float, float, float]]


def inline(figure: Figure, kind: str) -> str:
    """A figure as an address that holds it, "svg" or "png"; the same for equal figures."""
    import matplotlib

    picture = io.BytesIO()
    with matplotlib.rc_context({"svg.hashsalt": "gptex", "svg.fonttype": "path"}):
        figure.savefig(picture, format=kind, dpi=100, metadata={"Date": None} if kind == "svg" else {"Software": None})
    mime = "image/svg+xml" if kind == "svg" else "image/png"
    return f"data:{mime};base64,{base64.b64encode(picture.getvalue()).decode()}"


def spectrum(rows: Rows) -> Figure:
    """Power by wave number, and below it its ratio to theory."""
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    figure, above, below = _two()
    x, measured, expected, error = np.array(rows).T
    _against(above, x, measured, expected, error)
    above.set_xscale("log")
    above.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    above.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    above.xaxis.set_minor_formatter(NullFormatter())
    above.set_yscale("log", nonpositive="mask")
    above.set_ylabel("power")
    with np.errstate(divide="ignore", invalid="ignore"):
        _against(below, x, measured / expected, np.ones_like(x), error / expected)
    below.set_ylabel("÷ theory")
    below.set_xlabel("wave number (radians a pixel)")
    return figure


def autocovariance(rows: Rows) -> Figure:
    """Autocovariance by lag, and below it its difference from theory."""
    figure, above, below = _two()
    x, measured, expected, error = np.array(rows).T
    _against(above, x, measured, expected, error)
    above.set_ylabel("autocovariance")
    _against(below, x, measured - expected, np.zeros_like(x), error)
    below.set_ylabel("− theory")
    below.set_xlabel("lag (pixels)")
    return figure


def histogram(path: str | Path, manifest: Manifest, recipe: Recipe | None) -> tuple[Figure, int, float]:
    """Density of pixel values beside a normal one: its figure, of how many textures, and the standard deviation.

    The standard deviation is the recipe's, of fields and noise, or else the measured one.
    """
    size = math.prod(manifest.contents.shape)
    count = min(manifest.textures, TEXTURES, max(PIXELS // size, 1))
    readers = [Textures(path, split) for split in manifest.splits]
    images = [_finite(readers, n * manifest.textures // count) for n in range(count)]
    sigma = math.sqrt(sum(each.weight**2 for each in recipe.components) + recipe.noise_std**2) if recipe else 0.0
    sigma = sigma or float(np.sqrt(np.mean([np.mean(image**2) if image.size else 0.0 for image in images]))) or 1.0
    edges = np.linspace(-REACH * sigma, REACH * sigma, BINS + 1)
    total = sum(np.histogram(np.clip(image, edges[0], edges[-1]), edges)[0] for image in images)
    density = total / (max(np.sum(total), 1) * np.diff(edges))
    figure = new_figure(6.4, 2.6)
    axis = figure.subplots()
    axis.stairs(density, edges, fill=True, color=SHADE)
    middle = (edges[1:] + edges[:-1]) / 2
    normal = np.exp(-((middle / sigma) ** 2) / 2) / (sigma * math.sqrt(2 * math.pi))
    axis.plot(middle, normal, color=THEORY, linewidth=1.2)
    axis.set_xlim(edges[0], edges[-1])
    axis.set_xlabel("value of a pixel", fontsize=9)
    axis.set_ylabel("density", fontsize=9)
    axis.tick_params(labelsize=8)
    return figure, count, sigma


def _finite(splits: Sequence[Textures], place: int) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """The finite pixels of the texture at `place` of all splits together."""
    for textures in splits:
        if place < (textures.count or 0):
            break
        place -= textures.count or 0
    image = textures[place].image.astype(np.float64)
    return image[np.isfinite(image)]


def _two() -> tuple[Figure, Axes, Axes]:
    """A figure with a large part and a small one below it."""
    figure = new_figure(4.4, 3.6)
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(5, 2))
    for axis in (above, below):
        axis.tick_params(labelsize=8)
        axis.xaxis.label.set_size(9)
        axis.yaxis.label.set_size(9)
    figure.align_ylabels([above, below])
    return figure, above, below


def _against(axis: Axes, x: np.ndarray, measured: np.ndarray, expected: np.ndarray, error: np.ndarray) -> None:
    """Points on a line within its band."""
    axis.fill_between(x, expected - BAND * error, expected + BAND * error, color=SHADE, linewidth=0)
    axis.plot(x, expected, color=THEORY, linewidth=1)
    axis.plot(x, measured, "o", color=MEASURED, markersize=3)
