"""Figures of matplotlib, the extra `plot`: made here, and written here."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptex.errors import GptexError, MissingExtraError
from gptex.store.files import replacing

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


def check_picture(path: str | Path) -> str:
    """The format that the ending of `path` names; GptexError if there is none, or no folder for it."""
    kind, known = Path(path).suffix.removeprefix(".").lower(), new_figure().canvas.get_supported_filetypes()
    if not kind:
        raise GptexError(f"{path} has no ending that says in which format to write, such as .png")
    if kind not in known:
        raise GptexError(f"cannot write {path}: there is no format {kind!r}, but {', '.join(sorted(known))}")
    if not Path(path).absolute().parent.is_dir():
        raise GptexError(f"cannot write {path}: there is no such folder")
    return str(kind)


def save(figure: Figure, path: str | Path, dpi: int = 100) -> None:
    """Write a figure to `path`, whose ending says in which format, whole or not at all; GptexError if that cannot be done."""
    kind = check_picture(path)
    try:
        with replacing(Path(path)) as part, warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Glyph .* missing from")  # boxes stand for letters that the font lacks
            figure.savefig(part, format=kind, dpi=dpi)
    except ValueError as error:
        raise GptexError(f"cannot write {path}: {error}") from None
    except MemoryError:
        raise GptexError(f"cannot write {path}: a picture of {dpi} dots per inch is too large") from None
