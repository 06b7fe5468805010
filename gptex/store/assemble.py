"""Datasets of textures from elsewhere: each is assembled under a hidden name, so that it is complete or not there."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import islice
from pathlib import Path

import numpy as np
from filelock import FileLock, Timeout

from gptex.errors import DatasetError
from gptex.recipe import Texture
from gptex.store.card import card
from gptex.store.files import sync, write_text
from gptex.store.layout import SHARD_BYTES, cut
from gptex.store.manifest import CARD, MANIFEST, Manifest, Split
from gptex.store.progress import human_bytes
from gptex.store.progress import progress as show_progress
from gptex.store.shard import Compression, Shard, ShardPlan, record, stored_bytes, write_textures
from gptex.store.source import Source

PART, LOCK = ".part", ".lock"
OURS = re.compile(r"\.?(manifest\.json|recipe\.toml|README\.md|\d{5,}\.h5)(\.\w+)*")


def store_source(
    out: str | Path,
    source: Source,
    labels: Sequence[int],
    textures: Iterable[Texture],
    *,
    split: str = "train",
    shard_size: int = SHARD_BYTES,
    compression: Compression = "none",
    progress: bool = True,
) -> Manifest:
    """Write textures from elsewhere as the dataset `out`, one at a time in memory.

    Parameters
    ----------
    out : path
        A folder that is not there yet, or empty.
    source : Source
        What they are.
    labels : sequence of int
        Of each texture.
    textures : iterable of Texture
        As many, with these labels.

    Raises
    ------
    DatasetError
        If `out` holds something or is being written by another run, or the disk is too small or full. Then, as for any error
        from `textures`, nothing is left.
    """
    plans = cut(split, len(labels), source.texture_bytes, shard_size=shard_size, compression=compression)
    counts = np.bincount(labels, minlength=source.n_classes).tolist()
    size = Split(textures=len(labels), per_class=counts[0] if len(set(counts)) == 1 else tuple(counts))
    with assembled(Path(out)) as folder:
        check_space(folder, stored_bytes(source, len(labels)) + len(plans) * 2**16)
        (folder / split).mkdir()
        rest = iter(textures)
        with show_progress("write", len(labels), progress) as bar, ThreadPoolExecutor(1) as thread:
            futures = []
            for plan in plans:
                digest = write_textures(folder / plan.file, source, plan, islice(rest, plan.count))
                futures.append(thread.submit(_sealed, folder, plan, digest))  # while the next one is written
                bar.add(plan.count, stored_bytes(source, plan.count))
            shards = [future.result() for future in futures]
        manifest = Manifest.of_source(source, {split: size}, shards)
        write_text(folder / CARD, card(manifest))
        manifest.write(folder)
    return manifest


def _sealed(folder: Path, plan: ShardPlan, arrays_sha256: str) -> Shard:
    """The record of a shard that was written, when it is on the disk."""
    shard = record(folder / plan.file, plan, arrays_sha256)
    sync(folder / plan.file)
    return shard


@contextmanager
def assembled(out: Path, *, keep: bool = False) -> Iterator[Path]:
    """A hidden folder for this run alone, that becomes `out` at the end of the block.

    An empty folder stays the one that it is: it may be a disk of its own, stand where nothing else may be written, or be
    the current one. It is filled from within, the manifest last.

    Parameters
    ----------
    out : path
        Not there yet, or an empty folder.
    keep : bool
        Leave what is there after an error, and begin with what was left; by default nothing is left.

    Raises
    ------
    DatasetError
        If `out` holds something or is being written by another run.
    """
    out = out.resolve()
    is_there = out.is_dir()
    part, lock = (
        (out / PART, out / LOCK) if is_there else (out.with_name(f".{out.name}{PART}"), out.with_name(f".{out.name}{LOCK}"))
    )
    try:
        check_vacant(out)
        out.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(lock, timeout=0):
            try:
                check_vacant(out)  # still, now that nobody else writes it
                if not keep:
                    remove(part)
                part.mkdir(exist_ok=True)
                yield part
                if is_there:
                    for path in sorted(part.iterdir(), key=lambda path: path.name == MANIFEST):
                        os.rename(path, out / path.name)
                    part.rmdir()
                else:
                    os.rename(part, out)
            except BaseException:
                if not keep:
                    remove(part)
                raise
            finally:
                with suppress(OSError):  # Windows deletes no open file
                    lock.unlink()
    except Timeout:
        raise DatasetError(f"{out} is being written by another run: wait for it, or stop it") from None
    except OSError as error:
        raise DatasetError(f"cannot write {error.filename or out}: {error.strerror or error}") from error


def check_vacant(out: Path) -> None:
    """Raise DatasetError unless `out` is not there, or an empty folder."""
    if out.is_dir() and not any(path.name not in (PART, LOCK) for path in out.iterdir()):
        return
    if os.path.lexists(out):
        raise DatasetError(f"{out} {'holds something' if out.is_dir() else 'is no folder'}: choose a new or empty folder")


def remove(folder: Path) -> None:
    """Delete a dataset, or what a stopped run has left of one; DatasetError, and nothing deleted, if it holds anything else."""
    if not folder.exists():
        return
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_dir() or OURS.fullmatch(path.name)):
            raise DatasetError(f"{path} is no file of a dataset, and {folder} would be deleted: move it away")
    shutil.rmtree(folder)


def check_space(folder: Path, needed: int) -> None:
    """Raise DatasetError unless the disk of `folder` has so many bytes free."""
    free = shutil.disk_usage(folder).free
    if needed > free:
        raise DatasetError(f"the disk is too small: {folder} needs {human_bytes(needed)} more and has {human_bytes(free)} free")
