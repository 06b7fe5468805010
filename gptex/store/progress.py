"""Numbers for people, and how far a run is: a progress bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

LOG_SECONDS = 5.0


def human_bytes(size: float) -> str:
    """A size in decimal units, to three digits.

    >>> human_bytes(419_430_400)
    '419 MB'
    """
    from tqdm import tqdm

    number = str(tqdm.format_sizeof(size))
    return f"{number} B" if number[-1].isdigit() else f"{number[:-1]} {number[-1]}B"


def counted(number: int, thing: str) -> str:
    """A number of things, in words.

    >>> counted(1, "shard"), counted(2, "class")
    ('1 shard', '2 classes')
    """
    plural = thing + ("es" if thing.endswith("s") else "s")
    return f"{number} {thing if number == 1 else plural}"


class Progress(Protocol):
    """Something to tell how much is done."""

    def add(self, textures: int, size: int) -> None:
        """So many more textures of so many bytes in all are done."""

    def note(self, text: str) -> None:
        """Say this after the numbers from now on."""


class _Silent:
    def add(self, textures: int, size: int) -> None:
        """Say nothing."""

    def note(self, text: str) -> None:
        """Say nothing."""


class _Log:
    """A line every few seconds, and one at the end; no carriage returns."""

    def __init__(self, what: str, total: int) -> None:
        self.what, self.total = what, total
        self.noted = ""
        self.textures = self.size = 0
        self.start = time.monotonic()
        self.next = self.start + LOG_SECONDS

    def add(self, textures: int, size: int) -> None:
        """Count, and print if it is time."""
        self.textures += textures
        self.size += size
        if time.monotonic() >= self.next:
            self.say()

    def say(self) -> None:
        """Print how far it is."""
        now = time.monotonic()
        line = self._line(max(now - self.start, 1e-9))
        print(f"{self.what}: {line}{self.noted}", file=sys.stderr, flush=True)  # noqa: T201
        self.next = now + LOG_SECONDS

    def note(self, text: str) -> None:
        """Say it in the lines to come."""
        self.noted = f", {text}"

    def _line(self, seconds: float) -> str:
        rates = f"{self.textures / seconds:.1f} textures/s, {self.size / seconds / 1e6:.0f} MB/s"
        return f"{self.textures}/{self.total} textures, {rates}"


class _ByteLog(_Log):
    """The same of bytes, some of which were there before."""

    def __init__(self, what: str, total: int | None, done: int) -> None:
        super().__init__(what, total or 0)
        self.done = done

    def _line(self, seconds: float) -> str:
        of = f" of {human_bytes(self.total)}" if self.total else ""
        return f"{human_bytes(self.done + self.size)}{of}, {human_bytes(self.size / seconds)}/s"


class _Bar:
    """A tqdm bar of textures, with the bytes a second after it."""

    def __init__(self, what: str, total: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, desc=what, unit=" textures", dynamic_ncols=True, mininterval=0.05)
        self.noted = ""
        self.size = 0

    def add(self, textures: int, size: int) -> None:
        """Move the bar."""
        self.size += size
        self._postfix()
        self.bar.update(textures)

    def note(self, text: str) -> None:
        """Say it after the rate."""
        self.noted = f", {text}"
        self._postfix()
        self.bar.refresh()

    def _postfix(self) -> None:
        elapsed = self.bar.format_dict["elapsed"]
        if elapsed:
            text = f"{self.size / elapsed / 1e6:.0f} MB/s{self.noted}"
            self.bar.set_postfix_str(text, refresh=False)  # shown when the bar next moves


class _ByteBar:
    """A tqdm bar of bytes, some of which were there before."""

    def __init__(self, what: str, total: int | None, done: int) -> None:
        from tqdm import tqdm

        self.bar = tqdm(total=total, initial=done, desc=what, unit="B", unit_scale=True, dynamic_ncols=True)

    def add(self, textures: int, size: int) -> None:
        """Move the bar."""
        del textures
        self.bar.update(size)

    def note(self, text: str) -> None:
        """Say it after the bytes."""
        self.bar.set_postfix_str(text)


@contextmanager
def progress(what: str, total: int, show: bool) -> Iterator[Progress]:
    """Show on stderr how many of `total` textures are done, in the way that suits where it goes."""
    if not show:
        yield _Silent()
    elif sys.stderr.isatty():
        bar = _Bar(what, total)
        with bar.bar:
            yield bar
    else:
        log = _Log(what, total)
        yield log
        log.say()


@contextmanager
def byte_progress(what: str, total: int | None, show: bool, done: int = 0) -> Iterator[Progress]:
    """The same for `total` bytes, if their number is known, of which `done` were there before."""
    if not show:
        yield _Silent()
    elif sys.stderr.isatty():
        bar = _ByteBar(what, total, done)
        with bar.bar:
            yield bar
    else:
        log = _ByteLog(what, total, done)
        yield log
        log.say()
