"""Generation: the same textures however they are made, in shards that keep to their size, and more of them."""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptex import Recipe, generate, plan, verify
from gptex.store import Manifest

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
