"""Downloads that go on where they stopped.

`Downloader` brings the bytes: it keeps what has come between runs and asks for the rest, it waits and tries again when a server
is busy or a connection breaks, and it takes nothing for data that another file, a changed file or a web page has sent.
`download` checks the hash before the file gets its name. pooch would do that too, but a run that is killed leaves its temporary
file behind, and one that is stopped during the check loses all that came.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import sys
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from importlib.metadata import version
from pathlib import Path
from threading import Event
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from gptex.errors import DatasetError
from gptex.store.files import sync
from gptex.store.progress import byte_progress, human_bytes

USER_AGENT = f"gptex/{version('gptex')} (Gaussian-process textures)"
CHUNK = 2**14  # bytes; of what came, less than one chunk is lost when a connection breaks
ATTEMPTS = 6  # in a row that bring nothing new
LONGEST_WAIT = 300.0  # seconds that a server may ask for
BUSY = {408, 425, 429, 500, 502, 503, 504}  # try again
RANGE_REFUSED = 416


class _TryAgainError(Exception):
    """A failure that may pass, and how many seconds the server asks to wait for that."""

    def __init__(self, reason: str, after: float = 0) -> None:
        super().__init__(reason)
        self.after = after


class Downloader:
    """A downloader that resumes, also for pooch. One at a time may work on a partial file: the caller sees to that.

    Parameters
    ----------
    partial : path
        Where to keep what has come so far, also between runs. Beside it lies a note of the file's version on the server.
    size : int, optional
        Bytes of the file, where known.
    progress : bool
        Show a bar, and say what is waited for.
    timeout : float
        Seconds without a byte after which a connection counts as broken.
    pause : float
        Seconds before the second attempt; each further one waits twice as long.
    stop : Event, optional
        Set by another thread to have this one end; what has come is kept.
    most : int, optional
        Bytes after which to give up; by default `size`.
    """

    def __init__(
        self,
        partial: Path,
        *,
        size: int | None = None,
        progress: bool = True,
        timeout: float = 30,
        pause: float = 1,
        stop: Event | None = None,
        most: int | None = None,
    ) -> None:
        self.most = size if most is None else most
        self.partial, self.size, self.progress, self.timeout, self.pause = partial, size, progress, timeout, pause
        self._stop = stop or Event()
        self._note = partial.with_name(partial.name + ".json")

    def __call__(self, url: str, output_file: Any, pooch: Any) -> None:
        """Bring the file at `url` to `output_file`, as pooch asks. Raises as `bring` does."""
        self.bring(url)
        os.replace(self.partial, output_file)
        self.forget()

    def bring(self, url: str) -> None:
        """Make the partial file the whole file at `url`.

        Raises
        ------
        DatasetError
            If it cannot be had; what has come is kept where the rest may still come.
        """
        host, furthest, failures = urlsplit(url).netloc, 0, 0
        while True:
            try:
                self._attempt(url)
                break
            except _TryAgainError as problem:
                failures = 1 if self._offset() > furthest else failures + 1
                furthest = max(furthest, self._offset())
                if failures == ATTEMPTS:
                    raise DatasetError(
                        f"{url}: {problem}, {ATTEMPTS} times in a row: try again later, or from a mirror{self._kept()}"
                    ) from None
                wait = max(self.pause * 2 ** (failures - 1), problem.after)
                if wait > LONGEST_WAIT:
                    raise DatasetError(
                        f"{url}: {problem} and asks to wait {wait:.0f} s: try again then{self._kept()}"
                    ) from None
                if self.progress:
                    print(f"{host}: {problem}; trying again in {wait:.0f} s", file=sys.stderr, flush=True)  # noqa: T201
                self._stop.wait(wait)
                self._go_on(url)

    def _go_on(self, url: str) -> None:
        if self._stop.is_set():
            raise DatasetError(f"{url}: stopped")

    def forget(self) -> None:
        """Delete what has come."""
        self.partial.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def _kept(self) -> str:
        return f" ({human_bytes(offset)} are kept)" if (offset := self._offset()) else ""

    def _offset(self) -> int:
        """Bytes that have come so far."""
        return self.partial.stat().st_size if self.partial.exists() else 0

    def _attempt(self, url: str) -> None:
        """Ask once for what is missing."""
        import requests

        handled = sys.exc_info()[1]  # by the caller: no reason of what happens here
        version = self._version(url)
        if version is None:
            self.forget()
        headers = {"User-Agent": USER_AGENT, "Accept-Encoding": "identity"}  # the bytes as they are, to be counted
        if offset := self._offset():
            headers["Range"] = f"bytes={offset}-"
        if offset and version:
            headers["If-Range"] = version.get("ETag") or version["Last-Modified"]
        try:
            with requests.get(url, headers=headers, stream=True, timeout=self.timeout) as response:
                if not self._is_whole(response, offset):
                    self._check(response, url)
                    self._receive(response, url, offset, version or {})
        except (requests.exceptions.TooManyRedirects, ValueError) as error:  # bad addresses too
            raise DatasetError(f"{url}: {_plain(error, handled)}") from None
        except requests.exceptions.RequestException as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise DatasetError(f"{url}: {_plain(error, handled)}") from None
            raise _TryAgainError(_plain(error, handled)) from None
        except OSError as error:
            raise DatasetError(f"cannot write {self.partial}: {error.strerror or error}") from None

    def _version(self, url: str) -> dict[str, str] | None:
        """What the server said of the version that has come so far; None without a note of it, or for another address."""
        try:
            note = json.loads(self._note.read_text(encoding="utf-8"))
            return dict(note["version"]) if note["url"] == url else None
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def _is_whole(self, response: Any, offset: int) -> bool:
        """Whether the server refuses to send more because all has come; if it refuses for another reason, begin anew."""
        if response.status_code != RANGE_REFUSED or not offset:
            return False
        if response.headers.get("Content-Range", "") == f"bytes */{offset}":
            return True
        self.forget()
        raise _TryAgainError("the part that was kept does not fit the file")

    def _check(self, response: Any, url: str) -> None:
        """Whether an answer is data at all."""
        status = response.status_code
        if status in BUSY:
            raise _TryAgainError(f"the server answers {status} ({response.reason})", after=_retry_after(response))
        if status not in (200, 206):
            raise DatasetError(f"{url}: the server answers {status} ({response.reason})")
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        if kind in ("text/html", "application/xhtml+xml"):
            raise DatasetError(f"{url} is a web page, not the file: follow it in a browser, or use another address")
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise DatasetError(f"{url}: the server sends the file compressed, although asked not to")

    def _receive(self, response: Any, url: str, offset: int, version: dict[str, str]) -> None:
        """Append what comes to the partial file, or begin it anew."""
        start, end = _extent(response)
        now = _version_of(response)
        if start and (start != offset or any(now[key] != version[key] for key in now.keys() & version.keys())):
            self.forget()
            raise _TryAgainError("the file has changed")
        if self.size is not None and end not in (None, self.size):
            raise DatasetError(f"{url} has {end} bytes, not {self.size}: it is another file")
        if not start:
            self.forget()
        size = self.size or end
        free = shutil.disk_usage(self.partial.parent).free
        if size is not None and size - start > free:
            need = human_bytes(size - start)
            raise DatasetError(
                f"the disk is too small: {self.partial.parent} needs {need} more and has {human_bytes(free)} free"
            )
        name = self.partial.name.removeprefix(".").removesuffix(".part")
        if not start:
            self._note.write_text(json.dumps({"url": url, "version": now}), encoding="utf-8")
        with (
            self.partial.open("r+b" if start else "xb", buffering=0) as file,
            byte_progress(name, size, self.progress, done=start) as bar,
        ):
            file.seek(start)
            for chunk in response.iter_content(CHUNK):
                _write(file, chunk)
                bar.add(0, len(chunk))
                self._go_on(url)
                if (most := self.most or end) is not None and file.tell() > most:
                    self.forget()
                    raise DatasetError(f"{url} has more than {most} bytes: it is another file")
        if size is not None and self._offset() < size:
            raise _TryAgainError(f"the server sent {self._offset()} of {size} bytes")


def _write(file: Any, chunk: bytes) -> None:
    """Write all of `chunk`, also where the system takes it in pieces."""
    rest = memoryview(chunk)
    while rest:
        rest = rest[file.write(rest) :]


def _extent(response: Any) -> tuple[int, int | None]:
    """Where the answer begins in the file, and where the file ends if the server says so (RFC 9110, section 14.4)."""
    if response.status_code == 206:
        match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", response.headers.get("Content-Range", ""))
        return (int(match[1]), int(match[2]) if match[2] != "*" else None) if match else (-1, None)
    length = response.headers.get("Content-Length", "")
    return 0, int(length) if length.isdecimal() else None


def _version_of(response: Any) -> dict[str, str]:
    """What tells this version of a file from another. A weak ETag does not say that the bytes are the same."""
    version = {key: response.headers[key] for key in ("ETag", "Last-Modified") if key in response.headers}
    return {key: value for key, value in version.items() if not value.startswith("W/")}


def _retry_after(response: Any) -> float:
    """Seconds that the server asks to wait: Retry-After is a number or a date (RFC 9110, section 10.2.3), or not there."""
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return 0.0


def _plain(error: BaseException, handled: BaseException | None) -> str:
    """The innermost reason of a failed connection, inside of an error that was `handled` before."""
    if "timed out" in str(error):
        return "the server does not answer"
    while error.__context__ is not None and error.__context__ is not handled:
        error = error.__context__
    return " ".join(str(error).split()) or type(error).__name__


def _state(path: Path) -> tuple[int, int, int]:
    """What tells whether a file is still the one that was checked."""
    stat = path.stat()
    return stat.st_ino, stat.st_size, stat.st_mtime_ns


def copy(url: str, output_file: Any, pooch: Any) -> None:
    """A downloader for pooch that copies a local file, `file:///...`, as of a mirror in a folder."""
    del pooch
    try:
        shutil.copyfile(url2pathname(urlsplit(url).path), output_file)
    except OSError as error:
        Path(output_file).unlink(missing_ok=True)
        raise DatasetError(f"cannot copy {url}: {error.strerror or error}") from None


def download(
    url: str,
    path: Path,
    known_hash: str,
    *,
    size: int | None = None,
    progress: bool = True,
    timeout: float = 30,
    pause: float = 1,
    stop: Event | None = None,
) -> Path:
    """Bring the file at `url` to `path`, unless a file with this hash is there already. Only one at a time may do so.

    Parameters
    ----------
    url : str
        http, https or file.
    path : path
        Its folder is made if need be. What has come of the file so far lies beside it, under a hidden name.
    known_hash : str
        As pooch writes it, `md5:...` or `sha256:...`.
    size, progress, timeout, pause, stop
        As for `Downloader`.

    Raises
    ------
    DatasetError
        If the file cannot be had or written, or is another one than it should be. `path` is then as it was.
    """
    from pooch import file_hash

    algorithm, _, expected = known_hash.partition(":")
    partial = path.with_name(f".{path.name}.part")
    downloader = Downloader(partial, size=size, progress=progress, timeout=timeout, pause=pause, stop=stop)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or file_hash(path, algorithm) != expected:
            if url.startswith("file:"):
                downloader.forget()
                copy(url, partial, None)
            else:
                downloader.bring(url)
            before = _state(partial)
            found = file_hash(partial, algorithm)
            if found != expected:
                downloader.forget()
                raise DatasetError(
                    f"{url}: its {algorithm} is {found}, not {expected}: it is damaged or another file, and not taken"
                )
            mine = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
            os.replace(partial, mine)
            if _state(mine) != before:
                os.replace(mine, partial)
                raise DatasetError(f"another process writes {path} too: wait for it, or stop it")
            sync(mine)
            os.replace(mine, path)
        with suppress(OSError):  # the folder may be read-only
            downloader.forget()
    except ValueError as error:
        raise DatasetError(f"{url}: {' '.join(str(error).split())}") from None
    except OSError as error:
        raise DatasetError(f"cannot write {path}: {error.strerror or error}") from None
    return path
