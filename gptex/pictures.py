"""Figures of matplotlib, the extra `plot`: made here, and written here."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptex.errors import GptexError, MissingExtraError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def new_figure(width: float = 6.4, height: float = 4.8, layout: Any = "constrained") -> Figure:
    """An empty figure, of inches, which a notebook shows; MissingExtraError without matplotlib."""
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

    return Picture(figsize=(width, height), layout=layout)


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
