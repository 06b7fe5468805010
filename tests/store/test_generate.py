"""Generation: the same textures however they are made, in shards that keep to their size; and never at another's cost."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptex import DatasetError, GptexError, Recipe, RecipeError, generate, plan, verify
from gptex.store import Manifest, WorkerPool
from gptex.store.generate import estimated_seconds

Contents = Callable[[Path], dict[str, str]]


def array_hashes(manifest: Manifest) -> dict[str, str]:
    return {shard.file: shard.arrays_sha256 for shard in manifest.shards}


def shard_files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.glob("*/*.h5")}


def read(folder: Path, split: str) -> dict[str, np.ndarray]:
    """All rows of a split, in the order of its shards."""
    rows: dict[str, list[np.ndarray]] = {"images": [], "labels": [], "length_scales": [], "index": []}
    for path in sorted(folder.glob(f"{split}/*.h5")):
        with h5py.File(path, "r", locking=False) as file:
            for name, arrays in rows.items():
                arrays.append(file[name][()])
    return {name: np.concatenate(arrays) for name, arrays in rows.items()}


# -- the same textures, however they are made


@contextmanager
def processes(method: str) -> Iterator[Executor]:
    with ProcessPoolExecutor(2, mp_context=get_context(method)) as pool:
        yield pool


@contextmanager
def dask(**how: Any) -> Iterator[Executor]:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(dashboard_address=":0", **how) as cluster, distributed.Client(cluster) as client:
        yield client.get_executor()


EXECUTORS = {
    "threads": lambda: ThreadPoolExecutor(3),
    "spawned processes": lambda: processes("spawn"),
    "processes of a fork server": lambda: processes("forkserver"),
    "dask threads": lambda: dask(n_workers=1, threads_per_worker=2, processes=False),
    "dask processes": lambda: dask(n_workers=2, threads_per_worker=1, processes=True),
}


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_same_arrays_for_any_number_of_workers(
    workers: int, recipe: Recipe, shard_size: int, original: Path, tmp_path: Path
) -> None:
    manifest = generate(recipe, tmp_path, workers=workers, shard_size=shard_size, progress=False)
    assert array_hashes(manifest) == array_hashes(Manifest.read(original))


@pytest.mark.parametrize("executor", EXECUTORS.values(), ids=EXECUTORS.keys())
def test_same_arrays_from_any_executor(
    executor: Callable[[], Any], recipe: Recipe, shard_size: int, original: Path, tmp_path: Path
) -> None:
    with executor() as pool:
        manifest = generate(recipe, tmp_path, executor=pool, shard_size=shard_size, progress=False)
    assert array_hashes(manifest) == array_hashes(Manifest.read(original))


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_same_arrays_with_compression(
    compression: Any, recipe: Recipe, shard_size: int, original: Path, here: Executor, tmp_path: Path
) -> None:
    manifest = generate(recipe, tmp_path, executor=here, shard_size=shard_size, compression=compression, progress=False)
    assert array_hashes(manifest) == array_hashes(Manifest.read(original))
    assert {shard.compression for shard in manifest.shards} == {compression}
    assert verify(tmp_path).passed


def test_texture_does_not_depend_on_the_shard_it_is_in(recipe: Recipe, original: Path, here: Executor, tmp_path: Path) -> None:
    generate(recipe, tmp_path, executor=here, shard_size=1, progress=False)
    assert len(list(tmp_path.glob("train/*.h5"))) == 12
    for split in recipe.splits:
        for name, array in read(original, split).items():
            np.testing.assert_array_equal(read(tmp_path, split)[name], array)


@pytest.mark.parametrize("name", ["with a space", "çà — 日本語", "100%{of}[it]*"])
def test_folder_may_have_any_name(name: str, recipe: Recipe, tmp_path: Path) -> None:
    folder = tmp_path / name / name
    manifest = generate(recipe.replace(splits={"train": 1}), folder, workers=1, progress=False)
    assert manifest == Manifest.read(folder)
    assert verify(folder).passed


# -- what lies in a dataset


def test_every_texture_is_there_once_and_every_prefix_is_balanced(recipe: Recipe, original: Path) -> None:
    for split, per_class in recipe.splits.items():
        rows = read(original, split)
        assert rows["index"].tolist() == list(range(per_class * len(recipe.classes)))
        for end in range(1, len(rows["labels"]) + 1):
            counts = np.bincount(rows["labels"][:end], minlength=len(recipe.classes))
            assert counts.max() - counts.min() <= 1


def test_splits_have_no_texture_in_common(original: Path) -> None:
    images = np.concatenate([read(original, split)["images"] for split in ("train", "val")])
    assert len({image.tobytes() for image in images}) == len(images) == 16


@pytest.mark.parametrize("textures_a_shard", [1, 3, 4, 5, 11, 12, 13, 100])
def test_shards_are_balanced_and_as_few_as_their_size_allows(textures_a_shard: int, recipe: Recipe) -> None:
    shard_size = textures_a_shard * recipe.texture_bytes + 17
    shards = [shard for shard in plan(recipe, shard_size=shard_size).shards if shard.split == "train"]
    counts = [shard.count for shard in shards]
    assert sum(counts) == 12
    assert max(counts) <= textures_a_shard
    assert max(counts) - min(counts) <= 1
    assert (len(counts) - 1) * textures_a_shard < 12
    assert [shard.first for shard in shards] == [sum(counts[:i]) for i in range(len(counts))]
    assert [shard.file for shard in shards] == [f"train/{i:05d}.h5" for i in range(len(counts))]


@pytest.mark.parametrize(("megabytes", "shards"), [(8, 1), (63, 1), (64, 2), (160, 5), (256, 8), (2000, 8), (2100, 9)])
def test_large_split_is_shared_out_in_eight_shards_where_that_leaves_32_mib_each(
    megabytes: int, shards: int, recipe: Recipe
) -> None:
    large = recipe.replace(shape=[512, 256], splits={"train": megabytes})  # half a MiB a texture, two classes
    assert len(plan(large).shards) == shards


def test_shards_on_disk_are_those_planned(recipe: Recipe, shard_size: int, original: Path) -> None:
    shards = plan(recipe, shard_size=shard_size).shards
    assert [shard.plan for shard in Manifest.read(original).shards] == shards
    for shard in shards:
        with h5py.File(original / shard.file, "r") as file:
            assert len(file["images"]) == shard.count
            assert file["images"].nbytes <= shard_size


def test_manifest_comes_last(recipe: Recipe, shard_size: int, tmp_path: Path) -> None:
    manifests = []

    class Witness(ThreadPoolExecutor):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            future = super().submit(function, *arguments, **options)
            future.result()
            manifests.append((tmp_path / "manifest.json").exists())
            return future

    with Witness(1) as witness:
        generate(recipe, tmp_path, executor=witness, shard_size=shard_size, progress=False)
    assert manifests == [False] * 4
    assert (tmp_path / "manifest.json").exists()


def test_folder_holds_the_dataset_and_nothing_else(original: Path) -> None:
    there = {str(path.relative_to(original)) for path in original.rglob("*") if path.is_file()}
    shards = {"train/00000.h5", "train/00001.h5", "train/00002.h5", "val/00000.h5"}
    assert there == {"manifest.json", "recipe.toml", "README.md"} | shards


def test_recipe_in_the_folder_makes_the_same_dataset(recipe: Recipe, original: Path) -> None:
    assert Recipe.read(original / "recipe.toml") == recipe


# -- more of the same dataset


def test_larger_count_keeps_the_shards_and_equals_a_dataset_made_at_once(
    recipe: Recipe, shard_size: int, dataset: Path, here: Executor, tmp_path: Path
) -> None:
    before = shard_files(dataset)
    larger = recipe.replace(splits={"train": 9})
    manifest = generate(larger, dataset, executor=here, shard_size=shard_size, progress=False)
    assert manifest.full_recipe().splits == {"train": 9, "val": 2}
    assert shard_files(dataset).items() >= before.items()
    generate(larger, tmp_path / "at once", executor=here, progress=False)
    for name, array in read(tmp_path / "at once", "train").items():
        np.testing.assert_array_equal(read(dataset, "train")[name], array)
    assert verify(dataset).passed


def test_another_split_is_added(recipe: Recipe, shard_size: int, dataset: Path, here: Executor) -> None:
    before = shard_files(dataset)
    manifest = generate(recipe.replace(splits={"test": 1}), dataset, executor=here, shard_size=shard_size, progress=False)
    assert {name: split.textures for name, split in manifest.splits.items()} == {"train": 12, "val": 4, "test": 2}
    assert shard_files(dataset).items() > before.items()
    assert Recipe.read(dataset / "recipe.toml").splits == {"train": 6, "val": 2, "test": 1}
    assert verify(dataset).passed


def test_finished_dataset_is_left_as_it_is(
    recipe: Recipe, shard_size: int, dataset: Path, here: Executor, contents: Contents
) -> None:
    shards, everything = shard_files(dataset), contents(dataset)
    generate(recipe, dataset, executor=here, shard_size=shard_size, progress=False)
    assert shard_files(dataset) == shards
    assert contents(dataset) == everything


def test_unfinished_dataset_goes_on_with_what_is_whole(
    recipe: Recipe, shard_size: int, original: Path, dataset: Path, here: Executor, contents: Contents
) -> None:
    (dataset / "manifest.json").unlink()
    (dataset / "train/00000.h5").write_bytes((dataset / "train/00000.h5").read_bytes()[:5000])
    (dataset / "train/00001.h5").unlink()
    (dataset / "train/.00001.h5.0123abcd.part").write_bytes(b"half")
    before = shard_files(dataset)
    generate(recipe, dataset, executor=here, shard_size=shard_size, progress=False)
    kept = [name for name, file in before.items() if shard_files(dataset).get(name) == file]
    assert [Path(name).name for name in sorted(kept)] == ["00002.h5", "00000.h5"]
    assert contents(dataset) == contents(original)


def test_unfinished_dataset_goes_on_in_larger_shards_without_remains(recipe: Recipe, dataset: Path, here: Executor) -> None:
    """A reader of train/*.h5 must not find a texture twice."""
    (dataset / "manifest.json").unlink()
    manifest = generate(recipe, dataset, executor=here, progress=False)
    assert {str(path.relative_to(dataset)) for path in dataset.glob("*/*.h5")} == {shard.file for shard in manifest.shards}


class Stopped(ThreadPoolExecutor):
    """Makes the first shard, and is stopped at the second."""

    def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
        if hasattr(self, "first"):
            raise KeyboardInterrupt
        self.first = super().submit(function, *arguments, **options)
        self.first.result()
        return self.first


@pytest.mark.parametrize("splits", [{"train": 12}, {"test": 6}], ids=["longer", "another split"])
def test_extension_that_is_stopped_leaves_the_old_dataset_and_goes_on(
    splits: dict[str, int], recipe: Recipe, shard_size: int, original: Path, dataset: Path, here: Executor, contents: Contents
) -> None:
    larger = recipe.replace(splits=splits)
    with Stopped(1) as stopped, pytest.raises(KeyboardInterrupt):
        generate(larger, dataset, executor=stopped, shard_size=shard_size, progress=False)
    assert Manifest.read(dataset) == Manifest.read(original)
    assert verify(dataset).passed
    assert contents(dataset).keys() > contents(original).keys()
    assert generate(larger, dataset, executor=here, shard_size=shard_size, progress=False).textures == 28
    assert verify(dataset).passed


def test_overwrite_after_a_stopped_extension_leaves_no_remains(
    recipe: Recipe, shard_size: int, dataset: Path, here: Executor
) -> None:
    with Stopped(1) as stopped, pytest.raises(KeyboardInterrupt):
        generate(recipe.replace(splits={"test": 6}), dataset, executor=stopped, shard_size=shard_size, progress=False)
    other = recipe.replace(seed=1, splits={"train": 1})
    generate(other, dataset, executor=here, overwrite=True, progress=False)
    assert [str(path.relative_to(dataset)) for path in dataset.glob("*/*")] == ["train/00000.h5"]


# -- errors lose nothing


BAD_CALLS: dict[str, tuple[Callable[[Recipe], dict[str, Any]], str]] = {
    "no splits": (lambda recipe: {"recipe": recipe.replace(splits={})}, "counts no textures: give it splits"),
    "no workers": (lambda _: {"workers": 0}, "at least one worker, not 0"),
    "no such compression": (lambda _: {"compression": "zip"}, "none, gzip or lzf, not 'zip'"),
    "no room in a shard": (lambda _: {"shard_size": 0}, "at least one byte, not 0"),
}

OTHER_RECIPES: dict[str, tuple[Callable[[Recipe], dict[str, Any]], str]] = {
    "smaller count": (
        lambda recipe: {"recipe": recipe.replace(splits={"train": 5})},
        r"6 textures per class in split 'train', more than 5: .*another folder",
    ),
    "another seed": (lambda recipe: {"recipe": recipe.replace(seed=1)}, r"another recipe \(other seed\)"),
    "another shape and type": (
        lambda recipe: {"recipe": recipe.replace(shape=[64], dtype="float64")},
        r"another recipe \(other shape, dtype\)",
    ),
}


@pytest.mark.parametrize("overwrite", [False, True], ids=["plain", "overwrite"])
@pytest.mark.parametrize("place", ["dataset", "new folder"])
@pytest.mark.parametrize(("wrong", "message"), BAD_CALLS.values(), ids=BAD_CALLS.keys())
def test_wrong_call_is_refused_and_changes_nothing(
    wrong: Callable[[Recipe], dict[str, Any]],
    message: str,
    place: str,
    overwrite: bool,
    recipe: Recipe,
    dataset: Path,
    contents: Contents,
) -> None:
    before = contents(dataset.parent)
    call = {"recipe": recipe, "out": dataset.with_name(place), "overwrite": overwrite, "progress": False, **wrong(recipe)}
    with pytest.raises(GptexError, match=message) as error:
        generate(**call)
    assert "\n" not in str(error.value)
    assert contents(dataset.parent) == before


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
@pytest.mark.parametrize(("wrong", "message"), OTHER_RECIPES.values(), ids=OTHER_RECIPES.keys())
def test_other_recipe_than_that_of_the_folder_is_refused(
    wrong: Callable[[Recipe], dict[str, Any]], message: str, finished: bool, recipe: Recipe, dataset: Path, contents: Contents
) -> None:
    if not finished:
        (dataset / "manifest.json").unlink()
    before = contents(dataset)
    with pytest.raises(DatasetError, match=message) as error:
        generate(out=dataset, progress=False, **wrong(recipe))
    assert "\n" not in str(error.value)
    assert contents(dataset) == before


def test_recipe_that_its_grid_does_not_allow_is_refused_before_anything_is_written(recipe: Recipe, tmp_path: Path) -> None:
    wide = recipe.components[1].replace(length_scales=[1e6])
    with pytest.raises(RecipeError, match="coarse"):
        generate(recipe.replace(components=[wide]), tmp_path / "new", progress=False)
    assert not (tmp_path / "new").exists()


FOREIGN: dict[str, dict[str, str]] = {
    "a file": {"thesis.tex": "mine"},
    "hidden files": {".movie.part": "half a download", ".env": "mine"},
    "shards without a recipe": {"train/00000.h5": "mine", "README.md": "mine"},
    "another program's manifest": {"manifest.json": '{"name": "a web page"}', "README.md": "mine", "data/2024.h5": "mine"},
    "another program's recipe": {"recipe.toml": 'bread = "500 g flour"', "README.md": "mine", "data/2024.h5": "mine"},
}


@pytest.mark.parametrize("overwrite", [False, True], ids=["plain", "overwrite"])
@pytest.mark.parametrize("files", FOREIGN.values(), ids=FOREIGN.keys())
def test_folder_of_something_else_is_refused_and_left_alone(
    files: dict[str, str], overwrite: bool, recipe: Recipe, here: Executor, contents: Contents, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    before = contents(tmp_path)
    with pytest.raises(GptexError) as error:
        generate(recipe, tmp_path, executor=here, overwrite=overwrite, progress=False)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)
    assert contents(tmp_path) == before


def test_readme_beside_a_recipe_of_ones_own_survives(recipe: Recipe, here: Executor, tmp_path: Path) -> None:
    """As in a project whose recipe.toml is used by `gptex generate . --recipe recipe.toml`: refused or not, nothing is lost."""
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    (tmp_path / "README.md").write_text("my project")
    with suppress(DatasetError):
        generate(recipe, tmp_path, executor=here, progress=False)
    assert (tmp_path / "README.md").read_text() == "my project"


@pytest.mark.parametrize("place", ["file", "file/folder"])
def test_file_in_place_of_a_folder_is_refused(place: str, recipe: Recipe, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match=r"not a folder|Not a directory"):
        generate(recipe, tmp_path / place, progress=False)
    assert (tmp_path / "file").read_text() == "mine"


def test_read_only_folder_is_refused(
    recipe: Recipe, original: Path, dataset: Path, read_only: Callable[[Path], None], here: Executor, contents: Contents
) -> None:
    read_only(dataset)
    for folder in (dataset, dataset / "new"):
        with pytest.raises(DatasetError, match=r"cannot write into .*(Read-only file system|Permission denied)$"):
            generate(recipe.replace(splits={"train": 7}), folder, executor=here, progress=False)
    assert contents(dataset) == contents(original)


# -- overwriting


@pytest.mark.parametrize("finished", [True, False], ids=["finished", "unfinished"])
def test_overwrite_replaces_the_dataset_and_nothing_else(
    finished: bool, recipe: Recipe, dataset: Path, here: Executor, contents: Contents, tmp_path: Path
) -> None:
    if not finished:
        (dataset / "manifest.json").unlink()
    foreign = {"notes.txt": "mine", "notes/20240101.h5": "mine", "train/notes.txt": "mine", "train/0-mine.h5": "mine"}
    for name, text in foreign.items():
        (dataset / name).parent.mkdir(exist_ok=True)
        (dataset / name).write_text(text)
    (dataset / "empty").mkdir()
    other = recipe.replace(seed=1, splits={"test": 1})
    generate(other, dataset, executor=here, overwrite=True, progress=False)
    generate(other, tmp_path / "new", executor=here, progress=False)
    there, new = contents(dataset), contents(tmp_path / "new")
    assert {name: (dataset / name).read_text() for name in foreign} == foreign
    assert there.items() >= new.items()
    assert there.keys() - new.keys() == foreign.keys() | {"notes", "train", "empty"}


def test_overwrite_that_has_no_room_leaves_the_dataset(
    recipe: Recipe, original: Path, small_disk: Callable[[int], Path], here: Executor, contents: Contents
) -> None:
    out = shutil.copytree(original, small_disk(2**20) / "out")
    with pytest.raises(DatasetError, match="disk is too small"):
        generate(recipe.replace(splits={"train": 100}), out, executor=here, overwrite=True, progress=False)
    assert contents(out) == contents(original)


def test_manifest_that_is_damaged_is_written_again_as_the_error_says(
    recipe: Recipe, shard_size: int, original: Path, dataset: Path, here: Executor, contents: Contents
) -> None:
    (dataset / "manifest.json").write_text('{"format": 1, "reci')
    with pytest.raises(DatasetError, match=r"delete it and run the same `gptex generate` again"):
        verify(dataset)
    (dataset / "manifest.json").unlink()
    generate(recipe, dataset, executor=here, shard_size=shard_size, progress=False)
    assert contents(dataset) == contents(original)


# -- one run at a time


def test_folder_is_in_use_until_its_run_ends_or_is_killed(gptex: str, recipe: Recipe, original: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    command = [gptex, "generate", out, "--recipe", original / "recipe.toml", "--split", "train=20000", "--quiet"]
    with subprocess.Popen([*command, "--workers", "1", "--shard-size", "100kB"]) as holder:
        try:
            wait_for(lambda: any(out.glob("train/0*.h5")))
            with pytest.raises(DatasetError, match="is in use by another run") as error:
                generate(recipe, out, progress=False)
            assert "\n" not in str(error.value)
            assert holder.poll() is None
        finally:
            holder.send_signal(signal.SIGKILL)
    small = recipe.replace(seed=1, splits={"train": 1})
    generate(small, out, workers=1, overwrite=True, progress=False)
    assert verify(out).passed


def wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.01)


# -- a disk that is too small


def test_disk_that_is_too_small_is_refused_before_anything_is_written(
    recipe: Recipe, small_disk: Callable[[int], Path], contents: Contents
) -> None:
    disk = small_disk(2**20)
    with pytest.raises(DatasetError, match=r"disk is too small: .* needs .* more and has .* free") as error:
        generate(recipe.replace(splits={"train": 100}), disk / "new", progress=False)
    assert "\n" not in str(error.value)
    assert contents(disk) == {}


def test_disk_that_fills_up_is_one_clear_error_and_the_same_call_goes_on(
    recipe: Recipe,
    shard_size: int,
    original: Path,
    small_disk: Callable[[int], Path],
    is_whole: Callable[[Path], bool],
    contents: Contents,
) -> None:
    disk = small_disk(2**20)
    other = disk / "someone else's"
    shard_bytes = (original / "train/00000.h5").stat().st_size

    class MeanwhileSomeoneElseWrites(WorkerPool):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            if not other.exists():
                other.write_bytes(bytes(shutil.disk_usage(disk).free - int(2.5 * shard_bytes)))
            return super().submit(function, *arguments, **options)

    with (
        MeanwhileSomeoneElseWrites(1) as pool,
        pytest.raises(DatasetError, match=r"^cannot write .*\.h5: No space left on device$"),
    ):
        generate(recipe, disk / "out", executor=pool, shard_size=shard_size, progress=False)
    assert "out/manifest.json" not in contents(disk)
    shards = sorted((disk / "out").glob("*/*.h5"))
    assert [path.name for path in shards] == ["00000.h5", "00001.h5"]
    assert all(is_whole(path) for path in shards)
    assert not list(disk.rglob("*.part"))

    other.unlink()
    generate(recipe, disk / "out", workers=1, shard_size=shard_size, progress=False)
    assert contents(disk / "out") == contents(original)


@pytest.mark.parametrize("size", [2**16, 2**24], ids=["no room", "room"])
def test_time_is_estimated_also_where_there_is_no_room(
    size: int, recipe: Recipe, small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(small_disk(size)))
    todo = plan(recipe.replace(splits={"train": 10**6}))
    assert 1 < estimated_seconds(todo, 1) < 10**5
    assert list(Path(tempfile.gettempdir()).iterdir()) == []


def test_free_space_is_asked_only_for_what_is_missing(
    recipe: Recipe, shard_size: int, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(2**20)
    with ThreadPoolExecutor(1) as here:
        generate(recipe, disk / "out", executor=here, shard_size=shard_size, progress=False)
        (disk / "out/manifest.json").unlink()
        (disk / "filled").write_bytes(bytes(shutil.disk_usage(disk).free - 100_000))
        assert generate(recipe, disk / "out", executor=here, shard_size=shard_size, progress=False).textures == 16
