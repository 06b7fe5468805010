"""What is published and where: the source.toml of each data card, or one of the user's own."""

from __future__ import annotations

import tomllib
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from gptex.catalog import data_cards
from gptex.errors import DatasetError, nearest

UNITS = {"kB": 10**3, "MB": 10**6, "GB": 10**9}
SOURCE = "source.toml"


class Record(BaseModel):
    """A published file, as its source.toml describes it.

    Attributes
    ----------
    title : str
    url : str
        Where the file is.
    file : str
        Its name in the cache and on a mirror.
    size : int or str
        Bytes, which the file must have; or, as text, what the record shows in rounded form: "386.0 MB".
    md5, sha256 : str
        At least one of the two, in hexadecimal.
    doi, licence, citation : str
        As the record states them; "not stated" where it does not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    title: str
    url: Annotated[str, Field(pattern=r"^https?://\S+$")]
    file: Annotated[str, Field(pattern=r"^[^\W_][\w.-]{0,99}$")]  # nothing that leads out of a folder
    size: Annotated[int, Field(ge=1)] | Annotated[str, Field(pattern=r"^\d{1,9}(\.\d{1,9})? (kB|MB|GB)$")]
    md5: Annotated[str, Field(pattern="^[0-9a-f]{32}$")] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    doi: str = "not stated"
    licence: str = "not stated"
    citation: str = "not stated"

    @model_validator(mode="after")
    def _has_a_hash(self) -> Self:
        if not (self.md5 or self.sha256):
            raise ValueError("give the md5 or the sha256 of the file: without one it could not be checked")
        return self

    @property
    def known_hash(self) -> str:
        """The better hash, as pooch writes it."""
        return f"sha256:{self.sha256}" if self.sha256 else f"md5:{self.md5}"

    @property
    def exact_bytes(self) -> int | None:
        """Size that the file must have, if it is known exactly."""
        return self.size if isinstance(self.size, int) else None

    @property
    def about_bytes(self) -> int:
        """Size of the file, perhaps rounded."""
        if isinstance(self.size, int):
            return self.size
        number, unit = self.size.split()
        return round(float(number) * UNITS[unit])


def published() -> dict[str, Record]:
    """The published files that gptex knows, by name.

    >>> list(published())
    ['golkar-cranmer-2018', 'golkar-cranmer-2018-samples']
    """
    cards = sorted(card.name for card in data_cards().iterdir() if (card / SOURCE).is_file())
    return {name: _read(data_cards() / name / SOURCE) for name in cards}


def record(name: str | Path) -> tuple[str, Record]:
    """The published file called `name`, or of the source.toml at that path, with its short name.

    Raises
    ------
    DatasetError
        If there is none, or the file is not a source.toml.
    """
    known = published()
    if str(name) in known:
        return str(name), known[str(name)]
    path = Path(name)
    if path.suffix == ".toml" and path.is_file():
        return (path.resolve().parent.name if path.name == SOURCE else "") or path.stem, _read(path)
    if path.suffix == ".toml":
        raise DatasetError(f"{path} does not exist")
    raise DatasetError(f"there is no published dataset {str(name)!r}: {nearest(str(name), list(known))}")


def _read(path: Path | Traversable) -> Record:
    try:
        return Record(**tomllib.loads(path.read_bytes().decode("utf-8-sig")))
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        raise DatasetError(f"{path}: {_one_line(error)}") from None
    except (ValueError, RecursionError, TypeError) as error:  # not UTF-8, not TOML
        raise DatasetError(f"{path} is not TOML: {error}") from None


def _one_line(error: ValidationError) -> str:
    problem = min(
        error.errors(), key=lambda problem: problem["type"] != "extra_forbidden"
    )  # a misspelt key explains a missing one
    key = str(problem["loc"][0]) if problem["loc"] else ""
    if problem["type"] == "extra_forbidden":
        return f"there is no key {key!r}: {nearest(key, list(Record.model_fields))}"
    if problem["type"] == "missing":
        return f"the key {key!r} is missing"
    if key == "size":
        right = 'give the bytes as a whole number, or what the record shows as "386.0 MB"'
        return f"{key}: {right}, not {problem['input']!r}"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{key}: {message}, not {problem['input']!r}" if key else message
