"""Plots: what a dataset looks like. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from gptex.errors import GptexError
from gptex.pictures import new_figure
from gptex.recipe import Recipe
from gptex.show.textures import Textures
from gptex.store.progress import counted
from gptex.store.source import Contents

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine


def preview(
    source: str | Path | Recipe,
    *,
    columns: int = 4,
    split: str | None = None,
    classes: Sequence[str | int] | None = None,
    indices: Sequence[int] | None = None,
    zoom: float = 1.0,
) -> Figure:
    """A montage of a dataset: a row of examples for each class, with its length scales as bars.

    All images share one scale of grey. Of more than 16 classes it shows 16, evenly spaced. Of 3-D textures it shows the middle
    slice of the first axis; 1-D textures are curves, without bars.

    Parameters
    ----------
    source : path, str or Recipe
        A dataset's folder, a recipe, the path of a recipe's file, or a preset's name. Without a folder the examples are
        drawn on the spot.
    columns : int
        Examples of each class; fewer if the folder has fewer.
    split : str, optional
        Which split to show; the first one by default. Without a folder any name will do.
    classes : sequence of str or int, optional
        Names or labels of the classes to show, in this order.
    indices : sequence of int, optional
        Which textures of the split to show, in place of the first ones of each class.
    zoom : float
        Show the central part of each axis only, this factor smaller.

    Returns
    -------
    matplotlib.figure.Figure
        With `savefig`; a notebook shows it.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    GptexError
        If there is no such source, split, class or texture, `columns` or `zoom` is below 1, or both `classes` and `indices`
        are given.
    """
    new_figure()  # what is missing is said before the work
    if columns < 1:
        raise GptexError(f"a preview has at least one column, not {columns}")
    if not 1 <= zoom < math.inf:
        raise GptexError(f"a zoom is at least 1, not {zoom:g}")
    if classes and indices:
        raise GptexError("either classes or indices say what to show, not both")
    textures = Textures(source, split)
    contents, rows = textures.contents, textures.rows(columns, classes, indices)
    examples = [[textures[index] for index in row] for row in rows]
    pictures = [[central(example.image, zoom) for example in row] for row in examples]
    columns = max(len(row) for row in rows)
    limit = reach([picture for row in pictures for picture in row])
    height, width = contents.shape[-2:] if len(contents.shape) > 1 else (2, 5)
    cell = 2.1 / max(height, width)
    size = (max(columns * cell * width, 3) + 1.0, len(rows) * max(cell * height, 0.5) + 0.8)
    figure = new_figure(*size, layout=_layout())
    grid = figure.subplots(len(rows), columns, squeeze=False)
    for axes, row, shown, drawn in zip(grid, rows, examples, pictures, strict=True):
        for axis, index, picture in zip(axes, row, drawn, strict=False):
            draw(axis, picture, limit)
            if indices:
                axis.set_title(f"texture {index}", fontsize=8, pad=3)
        for axis in axes[len(row) :]:
            axis.set_axis_off()
        if len(contents.shape) > 1:
            draw_scales(axes[0], contents, shown[0].length_scales)
        axes[0].set_ylabel(f"{shown[0].label}: {contents.classes[shown[0].label]}", fontsize=11, parse_math=False)
    if len(contents.shape) > 1:
        bar = figure.colorbar(grid[0, 0].images[0], ax=grid, shrink=1 / len(rows), anchor=(0, 1), aspect=16, pad=0.02)
        bar.ax.tick_params(labelsize=8)
    labels = {example.label for row in examples for example in row}
    figure.suptitle(_title(contents, len(labels), pictures[0][0].shape, int(size[0] * 12.5)), fontsize=9, parse_math=False)
    return figure


def _layout() -> LayoutEngine:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)


def _title(contents: Contents, shown: int, part: tuple[int, ...], letters: int) -> str:
    """The dataset's name, and what one sees, in lines of so many letters."""
    facts = [
        f"{shown} of {contents.n_classes} classes" if contents.n_classes > shown else counted(contents.n_classes, "class"),
        " × ".join(map(str, contents.shape)) + " pixels",
    ]
    if len(contents.shape) == 3:
        facts.append(f"slice {contents.shape[0] // 2} of the first axis")
    if part != contents.shape[-len(part) :]:
        facts.append(f"the central {' × '.join(map(str, part))}")
    if len(contents.shape) > 1:
        facts.append("bars are length scales in pixels")
    return "\n".join(textwrap.wrap(contents.name, letters) + textwrap.wrap(", ".join(facts), letters))


def central(image: npt.NDArray[Any], zoom: float) -> npt.NDArray[np.float32]:
    """The central part of an image, of a 3-D one of its middle slice, by this factor smaller along each axis."""
    image = (image[len(image) // 2] if image.ndim == 3 else image).astype(np.float32)
    sizes = [min(n, max(2, round(n / zoom))) for n in image.shape]
    return image[tuple(slice((n - size) // 2, (n + size) // 2) for n, size in zip(image.shape, sizes, strict=True))]


def reach(pictures: Sequence[npt.NDArray[Any]]) -> float:
    """The value that is white, and its opposite black: of finite pixels one in a thousand is beyond."""
    sizes = np.abs(np.concatenate([picture.ravel() for picture in pictures]).astype(np.float32))
    sizes = sizes[np.isfinite(sizes)]
    return float(np.quantile(sizes, 0.999)) or 1.0 if len(sizes) else 1.0


def draw(axis: Axes, picture: npt.NDArray[np.float32], limit: float) -> None:
    """An image in grey from -limit (black) to limit, or a curve."""
    axis.set_xticks([])
    axis.set_yticks([])
    if picture.ndim == 1:
        axis.plot(picture, linewidth=0.8, color="black")
        axis.set_ylim(-1.1 * limit, 1.1 * limit)
        return
    axis.imshow(picture, cmap="gray", vmin=-limit, vmax=limit, interpolation="antialiased")


def draw_scales(axis: Axes, contents: Contents, length_scales: tuple[float, ...]) -> None:
    """A bar for each length scale, in the lower left corner, along the direction of a stretched field."""
    from matplotlib.patheffects import withStroke

    left, right = axis.get_xlim()
    bottom, top = axis.get_ylim()
    bar_edge, text_edge = [withStroke(linewidth=6, foreground="black")], [withStroke(linewidth=2, foreground="black")]
    step = min(0.11 * abs(right - left), 0.9 * abs(top - bottom) / len(length_scales))
    x = left + 0.05 * (right - left)
    stretches = [(1.0, 0.0)] * len(length_scales)
    if isinstance(contents, Recipe):
        stretches = [(component.aspect, component.angle) for component in contents.components]
    for number, (scale, (aspect, angle)) in enumerate(zip(length_scales, stretches, strict=True)):
        y = bottom - step * (number + 0.6)
        over, up = scale * aspect * math.cos(math.radians(angle)), scale * aspect * math.sin(math.radians(angle))
        axis.plot([x, x + over], [y, y - up], color="white", linewidth=4, solid_capstyle="butt", path_effects=bar_edge)
        beside = min(x + max(over, 0) + 0.03 * (right - left), left + 0.85 * (right - left))  # in the image, whatever the scale
        axis.text(beside, y, f"{scale:g}", color="white", fontsize=8, va="center", path_effects=text_edge)
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
