"""Recipes as text: TOML, which people write, and JSON."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from typing import Any

from gptex.errors import RecipeError


def parse_toml(text: str) -> dict[str, Any]:
    """The table written in TOML, after a byte order mark or without; RecipeError if it is none."""
    table: dict[str, Any] = _parse("TOML", tomllib.loads, text.removeprefix("\ufeff"))  # Windows editors write one
    return table


def parse_json(text: str) -> dict[str, Any]:
    """The object written in JSON; RecipeError if it is none."""
    data = _parse("JSON", json.loads, text)
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a JSON object")
    return data


def _parse(language: str, loads: Callable[[str], Any], text: str) -> Any:
    try:
        return loads(text)
    except RecursionError:
        raise RecipeError(f"not {language} of a recipe: brackets are nested too deeply") from None
    except ValueError as error:
        reason = "a number has thousands of digits" if type(error) is ValueError else error
        raise RecipeError(f"not {language}: {reason}") from None


def toml_lines(table: dict[str, Any]) -> Iterator[str]:
    """Keys and values of a table as TOML, whose strings, numbers and arrays are written as JSON's."""
    for key, value in table.items():
        bare = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
        yield f"{bare} = {json.dumps(value, ensure_ascii=False)}"
