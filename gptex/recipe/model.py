"""The base of recipes and their components: frozen pydantic models whose errors are sentences."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from gptex.errors import RecipeError, nearest

PLAIN_WORDS = {  # for pydantic's
    "Input should be": "must be",
    "a valid tuple": "a list",
    "a valid dictionary": "a table",
    "Tuple should have": "must have",
    "String should have": "must have",
    " after validation, not 0": "",
}


class Model(BaseModel):
    """A frozen model whose errors are RecipeErrors of one line."""

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, arbitrary_types_allowed=True)

    def __init__(self, /, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as error:
            raise RecipeError(self._one_line(error)) from None

    def __reduce__(self) -> Any:
        return type(self)._from_data, (self.model_dump(),)  # the plain data, not the samplers set up so far

    def replace(self, /, **changes: Any) -> Self:
        """The same with other values for some keys, checked anew."""
        return type(self)(**{**self.model_dump(), **changes})

    def model_copy(self, *, update: Mapping[str, Any] | None = None, deep: bool = False) -> Self:
        """As `replace`: pydantic's own would copy what was derived from the old values."""
        return self.replace(**(update or {}))

    @classmethod
    def _from_data(cls, data: dict[str, Any]) -> Self:
        return cls(**data)

    @classmethod
    def _hint(cls, key: str) -> str:
        """What to do about a key that does not exist."""
        return nearest(key, list(cls.model_fields))

    @classmethod
    def _one_line(cls, error: ValidationError) -> str:
        """The problem that explains most, as a sentence with its place."""
        problem = min(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
        place, message = problem["loc"], problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = f"there is no such key: {cls._hint(str(place[-1]))}"
        elif problem["type"] == "missing":
            message = "this key is missing"
        elif problem["type"] != "value_error":
            for theirs, ours in PLAIN_WORDS.items():
                message = message.replace(theirs, ours)
            message = f"{message}, not {_shown(problem['input'])}"
        where = ".".join(str(step) for step in place)
        return f"{where}: {message}" if where else message


def _shown(value: Any) -> str:
    """A wrong value for an error message."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # Python writes no number of thousands of digits
        return "this"
    return text if len(text) <= 200 else f"{text[:200]}…"
