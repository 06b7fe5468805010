"""Plots: what a dataset looks like. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from gptex.catalog import preset, presets
from gptex.errors import GptexError, MissingExtraError
from gptex.recipe import Recipe
from gptex.store.manifest import Manifest
from gptex.store.shard import open_shard

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gptex.recipe import Texture

MAX_ROWS = 16


def preview(source: str | Path | Recipe, *, columns: int = 4, split: str | None = None) -> Figure:
    """A montage of a dataset: a row of examples for each class, with its length scales as bars.

    Parameters
    ----------
    source : path, str or Recipe
        A dataset's folder, a recipe, the path of a recipe's file, or a preset's name. Without a folder the examples are
        drawn on the spot.
    columns : int
        Examples of each class.
    split : str, optional
        Which split to show; the first one by default.

    Returns
    -------
    matplotlib.figure.Figure
        To be saved with `save`, or shown as a notebook does.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    GptexError
        If there is no such source or split.
    """
    figure_type = _figure_type()
    if columns < 1:
        raise GptexError(f"a preview has at least one column, not {columns}")
    recipe, rows = _examples(source, columns, split)
    figure: Figure = figure_type(figsize=(2.1 * columns + 1.1, 2.1 * len(rows) + 0.6), layout="constrained")
    grid = figure.subplots(len(rows), columns, squeeze=False)
    limit = float(np.quantile(np.abs([example.image for row in rows for example in row]), 0.999)) or 1.0
    for axes, row in zip(grid, rows, strict=True):
        for axis, example in zip(axes, row, strict=False):
            _draw(axis, example, limit)
        for axis in axes[len(row) :]:
            axis.set_axis_off()
        if len(recipe.shape) > 1:
            _draw_scales(axes[0], row[0].length_scales)
        axes[0].set_ylabel(f"{row[0].label}: {recipe.classes[row[0].label]}", fontsize=11, parse_math=False)
    shown = f"first {MAX_ROWS} of {recipe.n_classes} classes" if recipe.n_classes > MAX_ROWS else f"{recipe.n_classes} classes"
    size = " × ".join(map(str, recipe.shape))
    middle = ", middle slice" if len(recipe.shape) == 3 else ""
    figure.suptitle(f"{recipe.name}: {shown}, {size} pixels{middle}, bars are length scales", fontsize=11, parse_math=False)
    return figure


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


def _figure_type() -> Any:
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError("plots need matplotlib: pip install 'gptex[plot]'") from None
    return Figure


def _examples(source: str | Path | Recipe, columns: int, split: str | None) -> tuple[Recipe, list[list[Texture]]]:
    """The recipe of `source` and, for each class to show, its first textures."""
    if isinstance(source, Recipe):
        return source, _drawn(source, columns, split)
    if Path(source).is_dir():
        manifest = Manifest.read(source)
        return manifest.full_recipe(), _stored(Path(source), manifest, columns, split)
    if Path(source).is_file():
        recipe = Recipe.read(source)
    elif str(source) in presets():
        recipe = preset(str(source))
    else:
        raise GptexError(f"{source} is no folder, no file and no preset (there are {', '.join(presets())})")
    return recipe, _drawn(recipe, columns, split)


def _drawn(recipe: Recipe, columns: int, split: str | None) -> list[list[Texture]]:
    name = split or next(iter(recipe.splits), "train")
    classes = range(min(recipe.n_classes, MAX_ROWS))
    return [[recipe.texture(name, label + recipe.n_classes * n) for n in range(columns)] for label in classes]


def _stored(folder: Path, manifest: Manifest, columns: int, split: str | None) -> list[list[Texture]]:
    from gptex.recipe import Texture

    name = split or next(iter(manifest.splits))
    if name not in manifest.splits:
        raise GptexError(f"{folder} has no split {name!r}: there are {', '.join(manifest.splits)}")
    n_classes = len(manifest.classes)
    rows: list[list[Texture]] = [[] for _ in range(min(n_classes, MAX_ROWS))]
    for shard in sorted((s for s in manifest.shards if s.split == name), key=lambda s: s.first):
        if shard.first >= columns * n_classes:
            break
        with open_shard(folder / shard.file) as file:
            for row, label in enumerate(file["labels"][()].tolist()):
                if label < len(rows) and len(rows[label]) < columns:
                    rows[label].append(Texture(file["images"][row], label, tuple(file["length_scales"][row].tolist())))
    return rows


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


def _draw_scales(axis: Axes, length_scales: tuple[float, ...]) -> None:
    """A bar for each length scale, in the lower left corner."""
    from matplotlib.patheffects import withStroke

    left, right = axis.get_xlim()
    bottom, top = axis.get_ylim()
    outline = [withStroke(linewidth=3, foreground="black")]
    for step, scale in enumerate(length_scales):
        x = left + 0.05 * (right - left)
        y = bottom + (0.06 + 0.11 * step) * (top - bottom)
        axis.plot([x, x + scale], [y, y], color="white", linewidth=2.5, solid_capstyle="butt", path_effects=outline)
        axis.text(
            x + scale + 0.03 * (right - left), y, f"{scale:g}", color="white", fontsize=8, va="center", path_effects=outline
        )
    axis.set_xlim(left, right)
    axis.set_ylim(bottom, top)
