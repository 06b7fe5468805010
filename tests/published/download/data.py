"""A file to be brought, and what is known of it."""

from __future__ import annotations

import hashlib
import random

from gptex.published.download import CHUNK

from ..server import Fault

SIZE, PART = 64 * CHUNK, 20 * CHUNK
DATA, OTHER = random.Random(0).randbytes(SIZE), random.Random(1).randbytes(SIZE)
PATH = "/data.zip"
WEB_PAGE = {"Content-Type": "text/html; charset=utf-8"}
CUT = Fault(cut=PART)
AFTER_CUT = f"bytes={PART}-"


def md5(data: bytes) -> str:
    return f"md5:{hashlib.md5(data).hexdigest()}"


def etag(data: bytes) -> str:
    return f'"{hashlib.md5(data).hexdigest()}"'


def names(folder):
    return sorted(path.name for path in folder.iterdir())
