"""From the files of the original software to a dataset in gptex's own format."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from gptex.errors import DatasetError, RecipeError
from gptex.published.legacy import open_legacy
from gptex.store.assemble import store_source
from gptex.store.layout import SHARD_BYTES
from gptex.store.manifest import Manifest
from gptex.store.progress import counted, human_bytes
from gptex.store.shard import Compression, stored_bytes
from gptex.store.source import Source, printable

MOST_NAMES = 20  # of files that were left out


def import_legacy(
    path: str | Path,
    out: str | Path,
    *,
    name: str | None = None,
    origin: dict[str, Any] | None = None,
    shard_size: int = SHARD_BYTES,
    compression: Compression = "none",
    progress: bool = True,
) -> Manifest:
    """Convert what the original software wrote to a dataset in the folder `out`, bit by bit the same images in their order.

    The archive is not unpacked, pickles are not run, and one image at a time is in memory.

    Parameters
    ----------
    path : path
        A `.gp` pickle, a zip archive or a folder with one, or a sample, a zip archive or a folder of them.
    out : path
        A folder that is not there yet, or empty.
    name : str, optional
        Of the dataset; by default that of the file.
    origin : dict, optional
        What is known of the file: its url, hash, licence and so on.
    shard_size : int
        Largest number of bytes of images in a shard, before compression.
    compression : {"none", "gzip", "lzf"}
    progress : bool
        Show how far it is.

    Returns
    -------
    Manifest
        With the source in place of a recipe; all textures are in the split `train`.

    Raises
    ------
    DatasetError
        As `gptex.published.open_legacy`, or if `out` cannot be written. Then there is no `out`.
    """
    path = Path(path)
    with open_legacy(path) as legacy:
        position = {label: n for n, label in enumerate(legacy.classes)}  # labels here are counted from 0 without gaps
        try:
            source = Source(
                name=name or printable(path.resolve().stem) or "images",
                shape=legacy.shape,
                dtype=legacy.dtype.name,
                class_scales=tuple(legacy.classes.values()),
                origin={"file": printable(path.resolve().name), **(origin or {}), "left_out": _names(legacy.left_out)},
            )
        except RecipeError as error:
            raise DatasetError(f"{path}: {error}") from None
        labels = [position[label] for label in legacy.labels]
        textures = (texture._replace(label=position[texture.label]) for texture in legacy)
        if progress:
            size = human_bytes(stored_bytes(source, len(labels)))
            print(f"writing {counted(len(labels), 'texture')}, {size}, to {out}", file=sys.stderr, flush=True)  # noqa: T201
        return store_source(out, source, labels, textures, shard_size=shard_size, compression=compression, progress=progress)


def _names(files: tuple[str, ...]) -> list[str]:
    """The names of files for people, the first of them if there are many."""
    rest = len(files) - MOST_NAMES
    return [printable(file) for file in files[:MOST_NAMES]] + ([f"{rest} more"] if rest > 0 else [])
