"""Recipes as text: TOML, which people write, and JSON."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any

from gptex.errors import RecipeError


def parse_toml(text: str) -> dict[str, Any]:
    """The table written in TOML; RecipeError if it is none."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise RecipeError(f"not TOML: {error}") from None


def parse_json(text: str) -> dict[str, Any]:
    """The object written in JSON; RecipeError if it is none."""
    try:
        data = json.loads(text)
    except ValueError as error:
        raise RecipeError(f"not JSON: {error}") from None
    if not isinstance(data, dict):
        raise RecipeError("a recipe is a JSON object")
    return data


def toml_lines(table: dict[str, Any]) -> Iterator[str]:
    """Keys and values of a table as TOML, whose strings, numbers and arrays are written as JSON's."""
    for key, value in table.items():
        bare = key if re.fullmatch(r"[A-Za-z0-9_-]+", key) else json.dumps(key, ensure_ascii=False)
        yield f"{bare} = {json.dumps(value, ensure_ascii=False)}"
