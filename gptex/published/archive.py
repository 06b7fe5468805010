"""Zip archives, judged before anything of them is used, and read without unpacking them.

A member is opened as a stream; nothing is written. An archive with a name that leads out of its folder, a link, or more than
it can honestly hold is refused whole: such an archive is not what it says.
"""

from __future__ import annotations

import re
import stat
import struct
import unicodedata
import zlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from gptex.errors import DatasetError

MAX_MEMBERS = 10_000  # the largest published archive has some 200
MAX_BYTES = 2**36  # all members unpacked, 64 GiB: forty times the largest published archive
MAX_RATIO = 100  # images compress by less than 10; a deflated bomb reaches 1000
METHODS = {ZIP_STORED: "stored", ZIP_DEFLATED: "deflated"}  # the others reach any ratio

Opener = Callable[[], AbstractContextManager[IO[bytes]]]


@contextmanager
def readable(name: str) -> Iterator[None]:
    """Turn what can go wrong while a file or a member is read into a DatasetError that names it."""
    try:
        yield
    except (BadZipFile, zlib.error, struct.error, EOFError, ValueError, NotImplementedError) as error:
        reason = str(error).partition("\n")[0]
        raise DatasetError(f"{name} is damaged: {reason}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {name}: {error.strerror or error}") from error


@contextmanager
def open_archive(path: Path) -> Iterator[dict[str, Opener]]:
    """The files in a zip archive by name, each with a function that opens it for reading.

    Folders and what macOS leaves behind (`__MACOSX`, `.DS_Store`, `._*`) are left out. A member read to its end has had its
    checksum checked; wrap its reading in `readable`.

    Raises
    ------
    DatasetError
        If the file is no zip archive or damaged, or a member is not to be trusted; see `check_members`.
    """
    try:
        archive = ZipFile(path)
    except (BadZipFile, struct.error, ValueError, NotImplementedError) as error:
        raise DatasetError(f"{path} is no zip archive, or is damaged or cut short: {error}") from error
    except OSError as error:
        raise DatasetError(f"cannot read {path}: {error.strerror or error}") from error
    with archive:
        members = archive.infolist()
        check_members(members, path)
        yield {info.filename: partial(archive.open, info) for info in members if not _is_litter(info)}


def check_members(members: list[ZipInfo], path: Path) -> None:
    """Judge the members of an archive by what its directory says of them.

    Raises
    ------
    DatasetError
        For too many members, too many bytes or too high a compression; for names that lead out of a folder, stand twice (also
        but for upper and lower case), or mean something else elsewhere; for links, encryption, and methods Python cannot read
        or that know no bound.
    """
    if len(members) > MAX_MEMBERS:
        raise DatasetError(f"{path} has {len(members)} members, more than {MAX_MEMBERS}: refused")
    if (size := sum(info.file_size for info in members)) > MAX_BYTES:
        raise DatasetError(f"{path} would unpack to {size} bytes, more than {MAX_BYTES}: refused")
    if sum(info.compress_size for info in members) > path.stat().st_size:
        raise DatasetError(f"{path} has members that overlap: it may be a zip bomb, refused")
    seen: set[str] = set()
    for info in members:
        key = unicodedata.normalize("NFC", str(PurePosixPath(info.filename))).casefold()
        if problem := "stands twice" if key in seen else _problem(info):
            raise DatasetError(f"{path}: member {info.orig_filename!r} {problem}: refused")
        seen.add(key)


def _problem(info: ZipInfo) -> str | None:
    """What is wrong with a member, if anything."""
    name = info.orig_filename  # before zipfile mends it
    kind = stat.S_IFMT(info.external_attr >> 16)  # as Unix has it; 0 from elsewhere
    problems = {
        "has no name": not name,
        "has a name with control characters": min(name, default=" ") < " " or "\x7f" in name,
        "has a backslash in its name": "\\" in name,
        "has an absolute path": name.startswith("/"),
        "has a drive letter": re.match("[A-Za-z]:", name) is not None,
        "leads out of its folder": ".." in name.split("/"),
        "is a link or a device": kind not in (0, stat.S_IFREG, stat.S_IFDIR),
        "is encrypted": bool(info.flag_bits & 0x1),
        f"is compressed by method {info.compress_type}, neither stored nor deflated": info.compress_type not in METHODS,
        f"unpacks to more than {MAX_RATIO} times its size": info.file_size > MAX_RATIO * info.compress_size,
    }
    return next((problem for problem, holds in problems.items() if holds), None)


def _is_litter(info: ZipInfo) -> bool:
    """Whether a member is a folder or macOS's own."""
    path = PurePosixPath(info.filename)
    return info.is_dir() or "__MACOSX" in path.parts or path.name == ".DS_Store" or path.name.startswith("._")
