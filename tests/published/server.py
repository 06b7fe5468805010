"""A web server on this machine that keeps to the rules for ranges, and breaks them when told to."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self

LAST_MODIFIED = "Thu, 24 May 2018 10:00:00 GMT"


@dataclass(frozen=True)
class Fault:
    """How one answer departs from the right one."""

    status: int | None = None  # this status, and `body`, instead of the file
    body: bytes | None = None  # this instead of the file
    headers: Mapping[str, str | None] = field(default_factory=dict)  # these instead, or none of that name
    ranges: bool = True  # False: send the whole file whatever was asked for
    shift: int = 0  # send a range that begins so much later than was asked for
    cut: int | None = None  # close the connection after so many bytes
    stall: int | None = None  # stay silent after so many bytes
    becomes: bytes | None = None  # the file that the next request meets


@dataclass(frozen=True)
class Request:
    path: str
    headers: Mapping[str, str]
    time: float  # seconds, of time.monotonic


class Server(ThreadingHTTPServer):
    """Serves `files`, each by its path, in a thread while a `with` block lasts.

    `faults` are played one after the other, one for each request of a path; when they are used up all is well again.
    `requests` are those that have come.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.files: dict[str, bytes] = {}
        self.faults: dict[str, list[Fault]] = {}
        self.requests: list[Request] = []
        self.closing = threading.Event()

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,))
        self._thread.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def asked(self, header: str) -> list[str | None]:
        """What each request said in a header."""
        return [request.headers.get(header) for request in self.requests]

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may hang up at any time: that is no error here."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        server, path = self.server, self.path
        server.requests.append(Request(path, dict(self.headers), time.monotonic()))
        fault = server.faults[path].pop(0) if server.faults.get(path) else Fault()
        data = server.files.get(path)
        if fault.becomes is not None:
            server.files[path] = fault.becomes
        if fault.status or data is None:
            self._send(fault, fault.status or 404, fault.body or b"", {})
        elif fault.body is not None:
            self._send(fault, 200, fault.body, _version(fault.body))
        else:
            self._send_file(fault, data)

    def _send_file(self, fault: Fault, data: bytes) -> None:
        version = _version(data)
        wanted = self.headers.get("Range") if fault.ranges else None
        if self.headers.get("If-Range", version["ETag"]) not in version.values():
            wanted = None
        if wanted is None:
            self._send(fault, 200, data, version)
            return
        start = int(wanted.removeprefix("bytes=").removesuffix("-")) + fault.shift
        if start >= len(data):
            self._send(fault, 416, b"", {"Content-Range": f"bytes */{len(data)}"})
        else:
            self._send(fault, 206, data[start:], {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"} | version)

    def _send(self, fault: Fault, status: int, body: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(len(body))} | headers | fault.headers
        for name, value in headers.items():
            if value is not None:
                self.send_header(name, value)
        self.end_headers()
        ends = [end for end in (fault.cut, fault.stall) if end is not None]
        self.wfile.write(body[: min(ends, default=None)])
        if fault.stall is not None:
            self.server.closing.wait()
        self.close_connection = bool(ends) or headers["Content-Length"] is None

    def log_message(self, format: str, *arguments: object) -> None:
        """Say nothing."""


def _version(data: bytes) -> dict[str, str]:
    return {"ETag": f'"{hashlib.md5(data).hexdigest()}"', "Last-Modified": LAST_MODIFIED}
