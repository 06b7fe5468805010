"""Generation: from a recipe to a dataset folder, and on from wherever an earlier run stopped.

The order of things sees to it that what is on disk is whole, or not there: recipe.toml comes first and says whose the folder
is, shards come under their names only when whole, and manifest.json comes last. A lock keeps a second run out of the folder;
it goes with the process that holds it.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, Future, as_completed, wait
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, cast

from gptex.errors import DatasetError, GptexError
from gptex.recipe import Recipe
from gptex.store.assemble import check_space
from gptex.store.card import card
from gptex.store.files import sync, write_text
from gptex.store.folder import check_places, clear, locked, owned, shards_in, write_recipe
from gptex.store.layout import SHARD_BYTES, cut
from gptex.store.manifest import CARD, MANIFEST, RECIPE, Manifest
from gptex.store.progress import progress as show_progress
from gptex.store.shard import Compression, Shard, ShardPlan, make_shard, record, stored_bytes, write_textures
from gptex.store.workers import WorkerPool, workers_for

MEASURED_TEXTURES = 64  # in a row, to estimate the time: so many …
MEASURED_BYTES = 8 * 2**20  # … of so many bytes at most, but one …
MEASURED_PLACES = 7  # … at so many places among the classes


class Plan(NamedTuple):
    """What `generate` would write.

    Attributes
    ----------
    recipe : Recipe
        With the counts that the folder will have.
    shards : list of ShardPlan
        To be written or checked.
    kept : list of Shard
        In the folder's manifest and there.
    lost : list of Shard
        In the folder's manifest, but missing or of another size: they are among `shards`, to be made again.
    """

    recipe: Recipe
    shards: list[ShardPlan]
    kept: list[Shard]
    lost: Sequence[Shard] = ()

    @property
    def textures(self) -> int:
        """Number of textures to write."""
        return sum(shard.count for shard in self.shards)

    @property
    def bytes(self) -> int:
        """Bytes to write, without compression."""
        return sum(stored_bytes(self.recipe, shard.count) for shard in self.shards)


def plan(
    recipe: Recipe, *, shard_size: int = SHARD_BYTES, compression: Compression = "none", extends: Manifest | None = None
) -> Plan:
    """What `generate` writes for `recipe`: each split in equal shards of at most `shard_size` bytes, see `layout.cut`.

    Of a dataset that the recipe `extends`, the shards stay and the missing textures come after them.

    Raises
    ------
    GptexError
        For a shard size below 1, a compression that does not exist, or a split of more than a million shards.
    """
    kept = list(extends.shards) if extends else []
    shards: list[ShardPlan] = []
    for split in recipe.splits:
        there = [shard for shard in kept if shard.split == split]
        first = sum(shard.count for shard in there)
        number = 1 + max((int(Path(shard.file).stem) for shard in there), default=-1)
        how: dict[str, Any] = {"shard_size": shard_size, "compression": compression, "first": first, "number": number}
        shards += cut(split, recipe.count(split) - first, recipe.texture_bytes, **how)
    return Plan(recipe, shards, kept)


def plan_into(out: str | Path, recipe: Recipe, *, overwrite: bool = False, **options: Any) -> Plan:
    """What `generate` writes into the folder `out`, given what is there; the options are those of `plan`.

    Raises
    ------
    GptexError
        If the recipe counts no textures, and as `plan`.
    DatasetError
        If `out` holds something else, another recipe or more textures.
    """
    out = Path(out).absolute()
    if not recipe.splits:
        raise GptexError("the recipe counts no textures: give it splits, such as train = 25 per class (--per-class 25)")
    if not owned(out) or overwrite:
        return plan(recipe, **options)
    manifest = Manifest.read(out) if (out / MANIFEST).exists() else None
    there = manifest.full_recipe() if manifest else Recipe.read(out / RECIPE)
    _check_extends(out, there, recipe)
    todo = plan(recipe.replace(splits={**there.splits, **recipe.splits}), extends=manifest, **options)
    kept: list[Shard] = []
    lost: list[Shard] = []
    for shard in todo.kept:
        (kept if _size(out / shard.file) == shard.bytes else lost).append(shard)
    return Plan(todo.recipe, [*(shard.plan for shard in lost), *todo.shards], kept, lost)


def estimated_seconds(todo: Plan, processes: int) -> float:
    """How long writing will take, from a few textures in a temporary folder; where they do not fit, they are only drawn.

    All samplers are set up once, as `generate` does first, and once more for the workers. Those that are not kept are set up
    again and again: hence textures from several places among the classes, each measured once the one before it was drawn.
    """
    if not todo.shards:
        return 0.0
    recipe, shard = todo.recipe, todo.shards[0]
    count = max(1, min(shard.count, MEASURED_TEXTURES, MEASURED_BYTES // recipe.texture_bytes))
    start = time.perf_counter()
    recipe.losses()
    setup = time.perf_counter() - start
    seconds = 0.0
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "measured.h5")
        fits = stored_bytes(recipe, count) + 2**18 < shutil.disk_usage(folder).free
        for place in range(MEASURED_PLACES):
            first = recipe.n_classes + recipe.n_classes * place // MEASURED_PLACES
            recipe.texture(shard.split, first - 1)
            textures = (recipe.texture(shard.split, index) for index in range(first, first + count))
            start = time.perf_counter()
            if fits:
                measured = replace(shard, first=first, count=count)
                record(path, measured, write_textures(path, recipe, measured, textures))
                sync(path)
            else:
                deque(textures, maxlen=0)
            seconds += time.perf_counter() - start
    return 2 * setup + seconds / (MEASURED_PLACES * count) * todo.textures / processes


def generate(
    recipe: Recipe,
    out: str | Path,
    *,
    workers: int | None = None,
    executor: Executor | None = None,
    shard_size: int = SHARD_BYTES,
    compression: Compression = "none",
    overwrite: bool = False,
    progress: bool = True,
) -> Manifest:
    """Write the dataset of `recipe` into the folder `out`, or what is missing of it there.

    A run that was interrupted goes on where it stopped when it is called again, and ends with the same arrays. A folder with
    the same recipe and smaller counts is extended; shards of it that are missing or cut short are made again.

    Parameters
    ----------
    recipe : Recipe
        With at least one split.
    out : path
        Made if it is not there.
    workers : int, optional
        Number of worker processes, each of one thread; by default one for each core this process may use.
    executor : concurrent.futures.Executor, optional
        To submit to instead, one task a shard. Its workers must see `out` under the same path.
    shard_size : int
        Largest number of bytes of images in a shard, before compression.
    compression : {"none", "gzip", "lzf"}
        Of the images, one a chunk; without it they lie in one piece, ready to be mapped.
    overwrite : bool
        Delete the gptex dataset in `out` first, finished or not, whatever its recipe; nothing else is deleted.
    progress : bool
        Show on stderr how far it is.

    Returns
    -------
    Manifest

    Raises
    ------
    RecipeError
        If the recipe cannot be honoured on its grid or cannot be written down; nothing is written.
    DatasetError
        If `out` holds something else, another recipe or more textures, something of the user's has the place of a shard, or
        `out` is in use or not writable, or the disk is too small.
    GptexError
        If the recipe counts no textures, for values out of range, or if a worker process dies.

    Examples
    --------
    >>> import gptex, tempfile
    >>> small = gptex.preset("golkar-cranmer-2018").replace(shape=[512, 512], splits={"train": 2})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     manifest = gptex.generate(small, folder, workers=1, progress=False)
    >>> manifest.textures
    8
    """
    if workers is not None and workers < 1:
        raise GptexError(f"there is at least one worker, not {workers}")
    out = Path(out).absolute()
    recipe_json = recipe.to_json()
    recipe.losses()  # refuses what the grid does not allow, before anything is written
    with locked(out):
        todo = plan_into(out, recipe, overwrite=overwrite, shard_size=shard_size, compression=compression)
        there = shards_in(out)
        check_places(out, (shard.file for shard in todo.shards), there, delete=overwrite)
        _check_space(out, todo, there if overwrite else set())
        if overwrite:
            clear(out, there)  # only now that nothing stands against the new dataset
        write_recipe(out, todo.recipe)  # first: it says whose the folder is, and how many textures it will have
        hashes = {shard.file: shard.arrays_sha256 for shard in todo.lost}
        tasks = [(str(out), recipe_json, shard, hashes.get(shard.file)) for shard in todo.shards]
        shards = [*todo.kept, *run_shards("generate", make_shard, tasks, workers, executor, progress)]
        for path in there - {out / shard.file for shard in shards}:
            path.unlink(missing_ok=True)  # of a stopped run with other shards
        return finish(out, todo.recipe, shards)


def run_shards(
    what: str,
    task: Callable[..., Shard],
    arguments: Sequence[tuple[Any, ...]],
    workers: int | None,
    executor: Executor | None,
    progress: bool,
) -> list[Shard]:
    """Call `task` with each of `arguments`, the third of which is a ShardPlan; the first failure stops all."""
    if not arguments:
        return []
    pool = WorkerPool(workers_for(len(arguments), workers)) if executor is None else None
    submit = (pool or cast("Executor", executor)).submit
    shards: list[Shard] = []
    futures: list[Future[Shard]] = []
    try:
        with show_progress(what, sum(each[2].count for each in arguments), progress) as bar:
            for each in arguments:  # one by one: what was submitted must be known if the next one fails
                futures.append(submit(task, *each))  # noqa: PERF401
            for future in as_completed(futures):
                shards.append(future.result())
                bar.add(shards[-1].count, shards[-1].bytes)
    except BaseException:
        running = [future for future in futures if not future.cancel()]
        if pool:
            pool.kill()
        wait(running)  # nothing may still write when the folder is let go; cancelled futures would never be waited out
        raise
    if pool:
        pool.shutdown()
    return shards


def finish(out: Path, recipe: Recipe, shards: list[Shard]) -> Manifest:
    """Write what comes after the shards, the manifest last; DatasetError if one of them is there no more."""
    for shard in shards:
        if _size(out / shard.file) != shard.bytes:
            raise DatasetError(f"{out / shard.file} was deleted or changed meanwhile: the same command makes it again")
    order = {split: number for number, split in enumerate(recipe.splits)}
    manifest = Manifest.of(recipe, sorted(shards, key=lambda shard: (order[shard.split], shard.first)))
    write_recipe(out, recipe)
    write_text(out / CARD, card(manifest))
    manifest.write(out)
    return manifest


def _check_extends(out: Path, there: Recipe, recipe: Recipe) -> None:
    """Raise DatasetError unless the dataset of the recipe `there` is the beginning of that of `recipe`."""
    if not there.same_textures(recipe):
        keys = [key for key in Recipe.model_fields if key != "splits" and getattr(there, key) != getattr(recipe, key)]
        raise DatasetError(
            f"{out} holds a dataset of another recipe (other {', '.join(keys)}): choose another folder, or --overwrite"
        )
    for split, count in recipe.splits.items():
        if there.splits.get(split, 0) > count:
            raise DatasetError(
                f"{out} has {there.splits[split]} textures per class in split {split!r}, more than {count}: "
                "choose another folder, or --overwrite"
            )


def _check_space(out: Path, todo: Plan, freed: set[Path]) -> None:
    absent = [shard for shard in todo.shards if out / shard.file in freed or not (out / shard.file).exists()]
    needed = sum(stored_bytes(todo.recipe, shard.count) + 2**16 for shard in absent)
    check_space(out, needed - sum(path.stat().st_size for path in freed if path.exists()))


def _size(path: Path) -> int | None:
    """Bytes of the file at `path`, None where there is no file."""
    return path.stat().st_size if path.is_file() else None
