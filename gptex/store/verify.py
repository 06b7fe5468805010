"""Verification and repair: is what lies on disk what the manifest says, and how to make it so again."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

from gptex.errors import DatasetError
from gptex.recipe import Recipe
from gptex.store.folder import locked
from gptex.store.generate import finish, run_shards
from gptex.store.manifest import Manifest
from gptex.store.progress import counted
from gptex.store.progress import progress as show_progress
from gptex.store.shard import Shard, check_shard, file_sha256, write_shard
from gptex.store.source import Contents
from gptex.store.workers import available_cores


class Problem(NamedTuple):
    """A bad shard and what is wrong with it."""

    file: str
    reason: str


class Verification(NamedTuple):
    """What `verify` found.

    Attributes
    ----------
    manifest : Manifest
    problems : list of Problem
        One for each bad shard, in the manifest's order.
    """

    manifest: Manifest
    problems: list[Problem]

    @property
    def passed(self) -> bool:
        """Whether every shard is what the manifest says."""
        return not self.problems

    def __repr__(self) -> str:
        return f"Verification({self})"

    def __str__(self) -> str:
        bad = [f"{problem.file}: {problem.reason}" for problem in self.problems]
        shards = len(self.manifest.shards)
        total = f"{shards - len(bad)} of {shards} shards are right" if bad else f"{counted(shards, 'shard')}, all right"
        return "\n".join([*bad, total])


def verify(path: str | Path, *, progress: bool = True) -> Verification:
    """Check the structure and the hashes of a dataset, several shards at a time.

    Raises
    ------
    DatasetError
        If there is no manifest to check against, or it contradicts itself.
    """
    folder = Path(path)
    manifest = Manifest.read(folder)
    contents = manifest.contents
    problems: list[Problem] = []
    with show_progress("verify", manifest.textures, progress) as bar, ThreadPoolExecutor(available_cores()) as threads:
        reasons = threads.map(lambda shard: _wrong(folder, contents, shard), manifest.shards)
        for shard, reason in zip(manifest.shards, reasons, strict=True):
            if reason:
                problems.append(Problem(shard.file, reason))
            bar.add(shard.count, shard.bytes)
    return Verification(manifest, problems)


def _wrong(folder: Path, contents: Contents, shard: Shard) -> str | None:  # noqa: PLR0911
    """What is wrong with a shard, if anything. Bytes that are not the manifest's are not shown to HDF5: some crash it."""
    path = folder / shard.file
    try:
        size = path.stat().st_size
        if size != shard.bytes:
            return f"has {size} bytes, not {shard.bytes}: cut short or another file"
        if file_sha256(path) != shard.sha256:
            return "has other bytes than in the manifest"
        if check_shard(path, contents, shard.plan) != shard.arrays_sha256:
            return "has other arrays than in the manifest"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read: {error.strerror}"
    except DatasetError as error:
        return str(error).removeprefix(f"{path} ")
    return None


def repair(path: str | Path, *, workers: int | None = None, progress: bool = True) -> Verification:
    """Make missing and damaged shards again from the recipe.

    Returns
    -------
    Verification
        As it was before; all its problems are mended.

    Raises
    ------
    DatasetError
        If there is no manifest, the folder is in use or not writable, the textures come from elsewhere, or a shard made again
        has another hash: then the dataset was made elsewhere, with other versions or on another processor. What was there is
        there still.
    """
    folder = Path(path).absolute()
    Manifest.read(folder)  # before the folder is locked, which would make it
    with locked(folder):
        before = verify(folder, progress=progress)
        bad = {problem.file for problem in before.problems}
        if before.passed:
            return before
        recipe = before.manifest.contents
        if not isinstance(recipe, Recipe):
            raise DatasetError(
                f"{folder} has {counted(len(bad), 'bad shard')} and no recipe, since its textures come from elsewhere: delete "
                "the folder and fetch, import or combine them again"
            )
        tasks = [(str(folder), recipe.to_json(), s.plan, s.arrays_sha256) for s in before.manifest.shards if s.file in bad]
        mended = run_shards("repair", write_shard, tasks, workers, None, progress)
        finish(folder, recipe, [s for s in before.manifest.shards if s.file not in bad] + mended)
        return before
