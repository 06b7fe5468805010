"""Plots: what a dataset looks like. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptex.catalog import preset, presets
from gptex.errors import GptexError, MissingExtraError
from gptex.recipe import Recipe, Texture
from gptex.store.manifest import Manifest
from gptex.store.progress import counted
from gptex.store.shard import open_shard
from gptex.store.source import Contents

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import LayoutEngine

MAX_ROWS = 16


def preview(source: str | Path | Recipe, *, columns: int = 4, split: str | None = None) -> Figure:
    """A montage of a dataset: a row of examples for each class, with its length scales as bars.

    Of more than 16 classes it shows 16, evenly spaced. Of 3-D textures it shows the middle slice of the first axis; 1-D
    textures are curves, without bars.

    Parameters
    ----------
    source : path, str or Recipe
        A dataset's folder, a recipe, the path of a recipe's file, or a preset's name. Without a folder the examples are
        drawn on the spot.
    columns : int
        Examples of each class; fewer if the folder has fewer.
    split : str, optional
        Which split to show; the first one by default. Without a folder any name will do.

    Returns
    -------
    matplotlib.figure.Figure
        With `savefig`; a notebook shows it.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    GptexError
        If there is no such source, the folder has no such split, or `columns` is below 1.
    """
    figure_type = _figure_type()
    if columns < 1:
        raise GptexError(f"a preview has at least one column, not {columns}")
    contents, rows = _examples(source, columns, split)
    columns = max(len(row) for row in rows)
    height, width = contents.shape[-2:] if len(contents.shape) > 1 else (2, 5)
    cell = 2.1 / max(height, width)
    size = (max(columns * cell * width, 3) + 0.6, len(rows) * max(cell * height, 0.5) + 0.8)
    figure: Figure = figure_type(figsize=size, layout=_layout())
    grid = figure.subplots(len(rows), columns, squeeze=False)
    limit = float(np.quantile(np.abs([example.image for row in rows for example in row]), 0.999)) or 1.0
    for axes, row in zip(grid, rows, strict=True):
        for axis, example in zip(axes, row, strict=False):
            _draw(axis, example, limit)
        for axis in axes[len(row) :]:
            axis.set_axis_off()
        if len(contents.shape) > 1:
            _draw_scales(axes[0], contents, row[0].length_scales)
        axes[0].set_ylabel(f"{row[0].label}: {contents.classes[row[0].label]}", fontsize=11, parse_math=False)
    figure.suptitle(_title(contents, len(rows), limit, int(size[0] * 11)), fontsize=9, parse_math=False)
    return figure


def _layout() -> LayoutEngine:
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    return ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0, hspace=0)


def _title(contents: Contents, rows: int, limit: float, letters: int) -> str:
    """The dataset's name, and what one sees, in lines of so many letters."""
    facts = [
        f"{rows} of {contents.n_classes} classes" if contents.n_classes > rows else counted(contents.n_classes, "class"),
        " × ".join(map(str, contents.shape)) + " pixels",
    ]
    if len(contents.shape) == 3:
        facts.append(f"slice {contents.shape[0] // 2} of the first axis")
    if len(contents.shape) > 1:
        facts.append(f"black to white is ±{limit:.2g}, bars are length scales in pixels")
    return "\n".join(textwrap.wrap(contents.name, letters) + textwrap.wrap(", ".join(facts), letters))


def save(figure: Figure, path: str | Path, dpi: int = 100) -> None:
    """Write a figure to `path`, whose ending says in which format; GptexError if that cannot be done."""
    if not Path(path).suffix:
        raise GptexError(f"{path} has no ending that says in which format to write, such as .png")
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # boxes stand for letters that the font lacks
            figure.savefig(path, dpi=dpi)
    except (OSError, ValueError) as error:
        raise GptexError(f"cannot write {path}: {error}") from None
    except MemoryError:
        raise GptexError(f"cannot write {path}: a picture of {dpi} dots per inch is too large") from None


def _figure_type() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plots need matplotlib, which the extra gptex[plot] brings: pip install matplotlib") from None

    class Picture(Figure):
        """A figure that a notebook shows without pyplot."""

        def _repr_png_(self) -> bytes:
            picture = io.BytesIO()
            self.savefig(picture, format="png")
            return picture.getvalue()

    return Picture


def _examples(source: str | Path | Recipe, columns: int, split: str | None) -> tuple[Contents, list[list[Texture]]]:
    """What `source` is and, for each class to show, its first textures."""
    if isinstance(source, Recipe):
        return source, _drawn(source, columns, split)
    if Path(source).is_dir():
        manifest = Manifest.read(source)
        return manifest.contents, _stored(Path(source), manifest, columns, split)
    if Path(source).is_file():
        recipe = Recipe.read(source)
    elif str(source) in presets():
        recipe = preset(str(source))
    else:
        raise GptexError(f"{source} is no folder, no file and no preset (there are {', '.join(presets())})")
    return recipe, _drawn(recipe, columns, split)


def _drawn(recipe: Recipe, columns: int, split: str | None) -> list[list[Texture]]:
    name = split or next(iter(recipe.splits), "train")
    step = recipe.n_classes
    return [[recipe.texture(name, label + step * n) for n in range(columns)] for label in _labels(recipe.n_classes)]


def _labels(n_classes: int) -> list[int]:
    """The classes to show: all, or some that are evenly spaced."""
    rows = min(n_classes, MAX_ROWS)
    return [row * n_classes // rows for row in range(rows)]


def _stored(folder: Path, manifest: Manifest, columns: int, split: str | None) -> list[list[Texture]]:
    name = split or next(iter(manifest.splits))
    if name not in manifest.splits:
        raise GptexError(f"{folder} has no split {name!r}: there are {', '.join(manifest.splits)}")
    rows: dict[int, list[Texture]] = {label: [] for label in _labels(len(manifest.classes))}
    for shard in sorted((s for s in manifest.shards if s.split == name), key=lambda s: s.first):
        if all(len(row) == columns for row in rows.values()):
            break
        with open_shard(folder / shard.file) as file:
            for row, label in enumerate(file["labels"][()].tolist()):
                if label in rows and len(rows[label]) < columns:
                    rows[label].append(Texture(file["images"][row], label, tuple(file["length_scales"][row].tolist())))
    return [row for row in rows.values() if row]  # a class may be empty


def _draw(axis: Axes, example: Texture, limit: float) -> None:
    image = example.image.astype(np.float32)
    axis.set_xticks([])
    axis.set_yticks([])
    if image.ndim == 1:
        axis.plot(image, linewidth=0.8, color="black")
        axis.set_ylim(-1.1 * limit, 1.1 * limit)
        return
    if image.ndim == 3:
        image = image[len(image) // 2]
    axis.imshow(image, cmap="gray", vmin=-limit, vmax=limit, interpolation="antialiased")


def _draw_scales(axis: Axes, contents: Contents, length_scales: tuple[float, ...]) -> None:
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
