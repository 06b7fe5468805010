"""Files that are whole or not there: written under a temporary name in the same folder, synced to the disk and renamed."""

from __future__ import annotations

import os
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from gptex.errors import DatasetError

PART = re.compile(  # what a killed run leaves
    r"\.(manifest\.json|recipe\.toml|README\.md|\d{5,}\.h5|(config|result|comparison)\.json"
    r"|(metrics|runs)\.csv|table\.md|(last|best)\.pt|(curves|confusion|comparison)\.png)"
    r"\.[0-9a-f]{8}\.part"
)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name to write to; what is there at the end of the block takes the place of `path`, whole and synced.

    Raises
    ------
    DatasetError
        For an OSError, in the block or after it. What was there is there still.
    """
    if path.is_dir():
        raise DatasetError(f"cannot write {path}: it is a folder")
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        yield part
        sync(part)
        os.replace(part, path)
        with suppress(OSError):  # not every system syncs folders
            sync(path.parent)
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):  # a read-only file system refuses even where there is no file
            part.unlink()


def sync(path: Path) -> None:
    """Force a file, or a folder's list of files, onto the disk."""
    descriptor = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR)  # Windows syncs only what it may write
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a text file whole or not at all, in UTF-8 with newlines as they are."""
    with replacing(path) as part:
        part.write_text(text, encoding="utf-8", newline="\n")
