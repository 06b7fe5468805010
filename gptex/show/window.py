"""A window in which one steps through the textures of a dataset. Needs matplotlib and a display."""

from __future__ import annotations

import shlex
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gptex.errors import GptexError, MissingExtraError
from gptex.recipe import Recipe
from gptex.show.plots import central, draw, draw_scales, reach
from gptex.show.textures import Textures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

HELP = "← → texture   ↑ ↓ of the same class   + - zoom   home end   q quit"
MAX_ZOOM = 64


class Stepper:
    """A figure of one texture, and what the keys do to it.

    Attributes
    ----------
    index : int
        Of the texture that is shown.
    zoom : int
    """

    def __init__(self, figure: Figure, textures: Textures, index: int = 0) -> None:
        self.figure, self.textures, self.index, self.zoom = figure, textures, index, 1
        self._limit = reach([textures[index].image])  # one scale of grey for all
        figure.canvas.mpl_connect("key_press_event", partial(Stepper.press, self))  # it would not keep a method alive
        self._show()

    def press(self, event: Any) -> None:
        """Do what a key says."""
        match event.key:
            case "right" | " ":
                to = self.index + 1
            case "left":
                to = self.index - 1
            case "down":
                to = self._same_class(1)
            case "up":
                to = self._same_class(-1)
            case "home":
                to = 0
            case "end" if self.textures.count:
                to = self.textures.count - 1
            case "+" | "=":
                to, self.zoom = self.index, min(MAX_ZOOM, self.zoom * 2)
            case "-":
                to, self.zoom = self.index, max(1, self.zoom // 2)
            case _:
                return
        if to >= 0 and (self.textures.count is None or to < self.textures.count):
            self.index = to
            self._show()

    def _same_class(self, step: int) -> int:
        """The next texture of the class in this direction."""
        if isinstance(self.textures.contents, Recipe):
            return self.index + step * self.textures.contents.n_classes
        label, index = self.textures[self.index].label, self.index + step
        while 0 <= index < (self.textures.count or 0) and self.textures[index].label != label:
            index += step
        return index

    def _show(self) -> None:
        texture, contents = self.textures[self.index], self.textures.contents
        self.figure.clear()
        axis = self.figure.subplots()
        draw(axis, central(texture.image, self.zoom), self._limit)
        if len(contents.shape) > 1:
            draw_scales(axis, contents, texture.length_scales)
            self.figure.colorbar(axis.images[0], ax=axis, shrink=0.8)
        of = "" if self.textures.count is None else f" of {self.textures.count}"
        where = f"{self.textures.split} {self.index}{of}, class {texture.label}: {contents.classes[texture.label]}"
        zoomed = f", {self.zoom} times enlarged" if self.zoom > 1 else ""
        self.figure.suptitle(f"{contents.name}\n{where}{zoomed}", fontsize=10, parse_math=False)
        self.figure.supxlabel(HELP, fontsize=8)
        self.figure.canvas.draw_idle()


def view(source: str | Path | Recipe, *, split: str | None = None, index: int = 0) -> None:
    """Open a window that shows a texture, and step through the others by keys; returns when it is closed.

    Parameters
    ----------
    source : path, str or Recipe
        A dataset's folder, a recipe, the path of a recipe's file, or a preset's name.
    split : str, optional
        The first one by default.
    index : int
        Of the texture to begin with.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    GptexError
        If there is no such source, split or texture, or no display to open a window on.
    """
    try:
        import matplotlib
        from matplotlib import pyplot
    except ImportError:
        raise MissingExtraError("a window needs matplotlib, of the extra gptex[plot]: pip install matplotlib") from None
    textures = Textures(source, split)
    textures[index]  # an error comes before a window does
    try:
        figure = pyplot.figure(figsize=(7, 7), layout="constrained")
    except ImportError:  # the window system that MPLBACKEND names cannot be reached
        raise GptexError(_no_window(source)) from None
    if figure.canvas.required_interactive_framework is None:
        pyplot.close(figure)
        raise GptexError(_no_window(source))
    Stepper(figure, textures, index)
    with matplotlib.rc_context({"keymap.back": [], "keymap.forward": [], "keymap.home": []}):  # matplotlib's use of our keys
        pyplot.show()


def _no_window(source: str | Path | Recipe) -> str:
    command = shlex.join(["gptex", "preview", str(source), "-o", "preview.png"])
    instead = "gptex.preview" if isinstance(source, Recipe) else command
    return (
        "there is no display for a window, or matplotlib knows none to open there (pip install PyQt6): "
        f"`{instead}` draws a picture"
    )
