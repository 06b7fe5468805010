"""The recipes that come with gptex, one data card each, and where the cards are."""

from __future__ import annotations

from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import TypeGuard

from gptex.errors import RecipeError, nearest
from gptex.recipe import Recipe


def data_cards() -> Traversable:
    """The folder of data cards: inside the installed package, or beside it in a checkout."""
    package = files("gptex")
    installed = package / "data_cards"
    return installed if installed.is_dir() else Path(str(package)).parent / "data_cards"


def presets() -> list[str]:
    """Names of the recipes that come with gptex.

    >>> "golkar-cranmer-2018" in presets()
    True
    """
    return sorted(card.name for card in data_cards().iterdir() if (card / "recipe.toml").is_file())


def preset(name: str) -> Recipe:
    """The recipe called `name` that comes with gptex.

    >>> preset("golkar-cranmer-2018").classes
    ('9.5-80', '10-80', '9.5-140', '10-140')

    Raises
    ------
    RecipeError
        If there is none.
    """
    if name not in presets():
        raise RecipeError(f"there is no preset {name!r}: {nearest(name, presets())}")
    return Recipe.read(data_cards() / name / "recipe.toml")


def is_folder(source: Recipe | str | Path) -> TypeGuard[str | Path]:
    """Whether `source` is the folder of a dataset, and not a recipe, its file or a preset's name."""
    return not isinstance(source, Recipe) and Path(source).is_dir()


def find_recipe(source: Recipe | str | Path) -> Recipe:
    """The recipe in the TOML file `source`, or the preset of that name; a recipe is returned as it is.

    >>> find_recipe("golkar-cranmer-2018") == preset("golkar-cranmer-2018")
    True

    Raises
    ------
    RecipeError
        If there is neither, or the file holds no recipe.
    """
    if isinstance(source, Recipe):
        return source
    if Path(source).is_file():
        return Recipe.read(source)
    if str(source) in presets():
        return preset(str(source))
    raise RecipeError(f"{source} is no folder, no file and no preset: {nearest(str(source), presets())}")
