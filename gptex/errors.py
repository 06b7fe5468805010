"""The errors gptex raises for what a user can mend; everything else is a bug and keeps its own type."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches


class GptexError(Exception):
    """What is wrong, where, and what to do about it, in one line."""


class RecipeError(GptexError, ValueError):
    """A recipe, or the arguments of a recipe, a kernel or a field, cannot be honoured."""


class DatasetError(GptexError):
    """A dataset folder is missing something, damaged, or holds something else."""


class MissingExtraError(GptexError, ImportError):
    """An optional dependency is not installed; the message names the extra that brings it."""


def nearest(word: str, choices: Sequence[str]) -> str:
    """The hint of an error message: the nearest right word, or all of them."""
    close = get_close_matches(word, choices, n=1)
    return f"did you mean {close[0]!r}?" if close else f"there are {', '.join(choices)}"
