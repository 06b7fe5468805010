"""Bytes of samples and archives."""

from __future__ import annotations

import io
import zipfile

import numpy as np


def npy(array) -> bytes:
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def zip_of(path, members, compression=zipfile.ZIP_DEFLATED):
    """A zip archive at `path` with these members, bytes by name."""
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return path
