"""Names: of datasets, components, splits and length scales."""

from __future__ import annotations

import re

from gptex.errors import RecipeError

SPLIT_NAME = re.compile(r"[^\W_][\w-]{0,63}")


def check_name(name: str) -> str:
    """`name` if it is printable text: it must fit on a line; else RecipeError."""
    if not name.isprintable():
        raise RecipeError(f"a name is printable text, not {name!r}")
    return name


def check_split(name: str) -> str:
    """`name` if it can be a split's name, which is also a folder's; else RecipeError."""
    if not isinstance(name, str) or not SPLIT_NAME.fullmatch(name):
        raise RecipeError(f"a split's name has letters, digits, - and _ (at most 64, a letter or digit first), not {name!r}")
    return name


def scale_name(length_scale: float) -> str:
    """A length scale as it stands in the names of classes and among the losses.

    >>> scale_name(9.5), scale_name(10.0)
    ('9.5', '10')
    """
    return f"{length_scale:.12g}"
