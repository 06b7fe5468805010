"""Whose a folder is, and what in it is gptex's. Nothing else is ever deleted or replaced; all of it is judged first."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from gptex.errors import DatasetError, GptexError
from gptex.recipe import Recipe
from gptex.store.files import PART, write_text
from gptex.store.manifest import CARD, MANIFEST, RECIPE, Manifest
from gptex.store.shard import begins_as_shard

LOCK = ".gptex.lock"
MARK = "# The recipe of the gptex dataset in this folder, which `gptex generate` wrote.\n"  # tells ours from the user's
SHARD_NAME = re.compile(r"\d{5,}\.h5")


@contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the folder `out`, made if need be, for this run alone; what an earlier run left half written is removed."""
    try:
        new = not out.exists()
        out.mkdir(parents=True, exist_ok=True)
        lock = FileLock(out / LOCK, timeout=0)
        lock.acquire()
    except FileExistsError:
        raise DatasetError(f"{out} is not a folder") from None
    except Timeout:
        raise DatasetError(f"{out} is in use by another run: wait for it, or stop it") from None
    except OSError as error:
        raise DatasetError(f"cannot write into {out}: {error.strerror}") from None
    try:
        _remove_parts(out)
        yield
    finally:
        with suppress(OSError):  # whoever has deleted the folder meanwhile wants no second error
            _remove_parts(out)
            (out / LOCK).unlink(missing_ok=True)
        lock.release()
        if new:
            with suppress(OSError):  # not empty
                out.rmdir()


def _remove_parts(out: Path) -> None:
    for part in [*out.glob(".*.part"), *out.glob("*/.*.h5.*.part")]:
        if PART.fullmatch(part.name):
            part.unlink(missing_ok=True)


def owned(out: Path) -> bool:
    """Whether `out` holds a gptex dataset, finished or not: it has the mark, or a recipe's manifest. False if it is empty.

    Raises
    ------
    DatasetError
        If `out` is no folder, or holds anything else. A recipe.toml of the user's own is something else too.
    """
    try:
        existing = next(folder for folder in [out, *out.parents] if folder.exists())
        if not existing.is_dir():
            raise DatasetError(f"{existing} is not a folder")
        names = sorted(entry.name for entry in out.iterdir()) if existing == out else []
        marked = RECIPE in names and _marked(out)
    except OSError as error:
        raise DatasetError(f"cannot read {out}: {error.strerror}") from None
    others = [name for name in names if name != LOCK and not PART.fullmatch(name)]
    if others and not marked and not _has_manifest(out):
        raise DatasetError(f"{out} holds something else ({others[0]!r}): choose a new or empty folder")
    return bool(others)


def _marked(out: Path) -> bool:
    return (out / RECIPE).is_file() and (out / RECIPE).read_bytes().startswith(MARK.encode())


def _has_manifest(out: Path) -> bool:
    with suppress(DatasetError):
        return Manifest.read(out).recipe is not None  # one of textures from elsewhere is not generate's
    return False


def write_recipe(out: Path, recipe: Recipe) -> None:
    """Write the recipe with its counts into the folder of its dataset, and the mark that says so."""
    write_text(out / RECIPE, MARK + recipe.to_toml())


def shards_in(out: Path) -> set[Path]:
    """The shards of the dataset in `out`: what its manifest lists, and what a stopped run has left.

    The latter are shards of this recipe in the folders of their splits; where neither manifest nor recipe can be read, of any.
    """
    listed: set[Path] = set()
    recipe_sha256 = None
    try:
        manifest = Manifest.read(out)
        listed, recipe_sha256 = {out / shard.file for shard in manifest.shards}, manifest.recipe_sha256
    except DatasetError:
        with suppress(GptexError):
            recipe_sha256 = hashlib.sha256(Recipe.read(out / RECIPE).to_json().encode()).hexdigest()
    others = {path for path in out.glob("*/*.h5") if SHARD_NAME.fullmatch(path.name)} - listed
    return listed | {path for path in others if begins_as_shard(path, path.parent.name, recipe_sha256)}


def check_places(out: Path, files: Iterable[str], shards: set[Path], delete: bool) -> None:
    """Refuse what cannot be written, or with `delete` deleted, before anything is.

    Raises
    ------
    DatasetError
        Where something else than one of `shards` has the place of one of `files`, or a folder that of a file. From behind a
        symbolic link to a folder nothing is deleted.
    """
    places = {out / file for file in files}
    deleted = shards if delete else set()
    for folder in sorted({path.parent for path in places | deleted}):
        if os.path.lexists(folder) and not folder.is_dir():
            raise DatasetError(f"{folder} is in the place of a split's folder: move it away")
    for folder in sorted({path.parent for path in deleted}):
        if folder.is_symlink():
            raise DatasetError(f"{folder} is a symbolic link, behind which nothing is deleted: remove it, or use a new folder")
    for path in sorted(places - shards):
        if os.path.lexists(path):
            raise DatasetError(f"{path} is in the place of a shard and is none of this dataset: move it away")
    for path in [out / MANIFEST, out / RECIPE, out / CARD, *sorted(places | deleted)]:
        if path.is_dir():
            raise DatasetError(f"{path} is a folder in the place of a file: move it away")


def clear(out: Path, shards: set[Path]) -> None:
    """Delete the gptex dataset in `out`, if there is one, with these shards; its recipe stays, which keeps the folder ours."""
    if (out / MANIFEST).exists() and not _marked(out):
        write_recipe(out, Manifest.read(out).full_recipe())
    (out / MANIFEST).unlink(missing_ok=True)  # first: from now on the folder is not a dataset
    for path in shards:
        path.unlink(missing_ok=True)
    for folder in {path.parent for path in shards}:
        with suppress(OSError):  # not empty, or not there
            folder.rmdir()
    (out / CARD).unlink(missing_ok=True)
