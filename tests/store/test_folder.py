"""Whose a folder is: what is gptex's is made again, replaced or deleted, and nothing else, however it looks."""

import os
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import h5py
import pytest

from gptex import DatasetError, Recipe, generate, verify
from gptex.store import Manifest, ShardPlan, WorkerPool
from gptex.store.assemble import store_source
from gptex.store.generate import plan_into
from gptex.store.shard import write_shard
from gptex.store.source import Source

Contents = Callable[[Path], dict[str, str]]


def shards(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("*/*.h5"))


@pytest.fixture
def again(recipe: Recipe, shard_size: int, dataset: Path, here: Executor) -> Callable[..., Manifest]:
    """The same `generate` again, or with other arguments."""
    given = {"recipe": recipe, "out": dataset, "executor": here, "shard_size": shard_size, "progress": False}
    return lambda **other: generate(**{**given, **other})


@pytest.fixture
def refused(again: Callable[..., Manifest], dataset: Path, contents: Contents) -> Callable[..., str]:
    """`generate`, which must be refused in one line that leaves all as it is; returns that line."""

    def call(**arguments: Any) -> str:
        before = contents(dataset.parent)
        with pytest.raises(DatasetError) as error:
            again(**arguments)
        assert contents(dataset.parent) == before
        assert "\n" not in str(error.value)
        return str(error.value)

    return call


# -- shards of a finished dataset that are not there any more


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [Path.unlink, cut_short])
@pytest.mark.parametrize("train", [6, 9], ids=["same counts", "more"])
def test_lost_shards_of_a_finished_dataset_are_made_again(
    damage: Callable[[Path], None], train: int, recipe: Recipe, again: Callable[..., Manifest], original: Path, dataset: Path
) -> None:
    damage(dataset / "train/00001.h5")
    larger = recipe.replace(splits={"train": train})
    todo = plan_into(dataset, larger)
    assert todo.textures == 4 + 2 * (train - 6)
    assert [shard.file for shard in todo.lost] == ["train/00001.h5"]
    again(recipe=larger)
    assert verify(dataset).passed
    assert (dataset / "train/00001.h5").read_bytes() == (original / "train/00001.h5").read_bytes()


def test_lost_split_is_made_again(again: Callable[..., Manifest], original: Path, dataset: Path, contents: Contents) -> None:
    shutil.rmtree(dataset / "train")
    again()
    assert contents(dataset) == contents(original)


def test_shard_that_was_made_by_other_versions_is_not_made_again_among_them(refused: Callable[..., str], dataset: Path) -> None:
    """Textures that differ by rounding are not mixed without a word."""
    manifest = dataset / "manifest.json"
    shard = Manifest.read(dataset).shards[1]
    manifest.write_text(manifest.read_text().replace(shard.arrays_sha256, "0" * 64))
    (dataset / shard.file).unlink()
    assert "another hash than in the manifest" in refused()


def test_shard_that_is_deleted_during_the_run_leaves_the_dataset_unfinished(
    recipe: Recipe, shard_size: int, again: Callable[..., Manifest], original: Path, dataset: Path, contents: Contents
) -> None:
    shutil.rmtree(dataset)

    class Deletes(WorkerPool):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            future = super().submit(function, *arguments, **options)
            future.result()
            (dataset / "train/00000.h5").unlink(missing_ok=True)
            return future

    with Deletes(1) as pool, pytest.raises(DatasetError, match=r"train/00000.h5 was deleted or changed meanwhile"):
        generate(recipe, dataset, executor=pool, shard_size=shard_size, progress=False)
    assert not (dataset / "manifest.json").exists()
    again()
    assert contents(dataset) == contents(original)


def test_recipe_that_is_deleted_during_the_run_is_written_again(
    recipe: Recipe, shard_size: int, original: Path, tmp_path: Path, contents: Contents
) -> None:
    class Deletes(ThreadPoolExecutor):
        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            (tmp_path / "out/recipe.toml").unlink(missing_ok=True)
            return super().submit(function, *arguments, **options)

    with Deletes(1) as executor:
        generate(recipe, tmp_path / "out", executor=executor, shard_size=shard_size, progress=False)
    assert contents(tmp_path / "out") == contents(original)


# -- what makes a folder ours: the mark or the manifest


@pytest.mark.parametrize("overwrite", [False, True], ids=["extended", "overwritten"])
@pytest.mark.parametrize("text", [None, "", "my notes", 'name = "mine"'])
def test_manifest_alone_makes_a_folder_ours(
    text: str | None, overwrite: bool, recipe: Recipe, again: Callable[..., Manifest], dataset: Path
) -> None:
    (dataset / "recipe.toml").unlink()
    if text is not None:
        (dataset / "recipe.toml").write_text(text)
    again(recipe=recipe.replace(splits={"train": 7}), overwrite=overwrite)
    assert verify(dataset).passed
    assert Recipe.read(dataset / "recipe.toml").splits == ({"train": 7} if overwrite else {"train": 7, "val": 2})


def test_overwrite_of_nothing_is_a_new_dataset(recipe: Recipe, here: Executor, tmp_path: Path) -> None:
    for folder in (tmp_path / "new", tmp_path / "empty"):
        if folder.name == "empty":
            folder.mkdir()
        assert generate(recipe, folder, executor=here, overwrite=True, progress=False).textures == sum(
            map(recipe.count, recipe.splits)
        )
        assert verify(folder, progress=False).passed


@pytest.mark.parametrize("name", ["manifest.json", "recipe.toml"])
@pytest.mark.parametrize("text", ["", "{", '{"format": 99}', '{"format": 1}', "\ufeff{}", "seed = 1\n" * 2])
def test_overwrite_replaces_a_dataset_whose_manifest_or_recipe_is_broken(
    name: str, text: str, recipe: Recipe, again: Callable[..., Manifest], dataset: Path
) -> None:
    path = dataset / name
    mark = path.read_text().splitlines(keepends=True)[0] if name == "recipe.toml" else ""
    path.write_text(mark + text)
    if name == "recipe.toml":
        (dataset / "manifest.json").unlink()
    again(recipe=recipe.replace(seed=1, splits={"test": 1}), overwrite=True)
    assert shards(dataset) == ["test/00000.h5"]
    assert verify(dataset).passed


def test_folder_with_neither_mark_nor_manifest_is_not_ours(refused: Callable[..., str], dataset: Path) -> None:
    (dataset / "recipe.toml").unlink()
    (dataset / "manifest.json").write_text("{}")
    for overwrite in (False, True):
        assert "holds something else" in refused(overwrite=overwrite)


@pytest.mark.parametrize("overwrite", [False, True], ids=["going on", "overwrite"])
def test_textures_from_elsewhere_cannot_be_made_again_and_are_not_overwritten(
    overwrite: bool, recipe: Recipe, refused: Callable[..., str], dataset: Path
) -> None:
    elsewhere = Source(name="theirs", shape=[64, 64], dtype="float32", class_scales=[[2, 9], [3.5, 9]], origin={"url": "…"})
    textures = [recipe.texture("train", i) for i in range(4)]
    out = dataset.with_name("elsewhere")
    store_source(out, elsewhere, [texture.label for texture in textures], textures, progress=False)
    assert "holds something else" in refused(out=out, overwrite=overwrite)


# -- what is in the way is refused before anything is deleted


def linked_split(dataset: Path) -> None:
    (dataset / "train").rename(dataset.parent / "elsewhere")
    (dataset / "train").symlink_to(dataset.parent / "elsewhere")


def folder_as_shard(dataset: Path) -> None:
    (dataset / "train/00001.h5").unlink()
    (dataset / "train/00001.h5").mkdir()


def folder_as_card(dataset: Path) -> None:
    (dataset / "README.md").unlink()
    (dataset / "README.md").mkdir()


def file_as_split(dataset: Path) -> None:
    (dataset / "test").write_text("mine")


@pytest.mark.parametrize(
    ("change", "place"),
    [(linked_split, "train"), (folder_as_shard, "00001.h5"), (folder_as_card, "README.md"), (file_as_split, "test")],
)
def test_overwrite_refuses_what_it_cannot_replace_and_touches_nothing(
    change: Callable[[Path], None], place: str, recipe: Recipe, refused: Callable[..., str], dataset: Path
) -> None:
    change(dataset)
    assert place in refused(recipe=recipe.replace(seed=1, splits={"test": 1}), overwrite=True)


@pytest.mark.parametrize("change", [folder_as_shard, folder_as_card, file_as_split])
def test_a_run_that_goes_on_refuses_it_too(
    change: Callable[[Path], None], recipe: Recipe, refused: Callable[..., str], dataset: Path
) -> None:
    change(dataset)
    assert str(dataset) in refused(recipe=recipe.replace(splits={"train": 7, "test": 1}))


def test_linked_split_is_extended(recipe: Recipe, again: Callable[..., Manifest], dataset: Path) -> None:
    linked_split(dataset)
    again(recipe=recipe.replace(splits={"train": 7}))
    assert (dataset / "train").is_symlink()
    assert verify(dataset).passed


def test_linked_shard_is_replaced_and_what_it_leads_to_stays(again: Callable[..., Manifest], dataset: Path) -> None:
    path, elsewhere = dataset / "train/00001.h5", dataset.parent / "elsewhere.h5"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    before = elsewhere.read_bytes()
    again(overwrite=True)
    assert not path.is_symlink()
    assert elsewhere.read_bytes() == before


# -- a user's files with the names of shards


def of_another_recipe(path: Path, recipe: Recipe) -> None:
    plan = ShardPlan(f"{path.parent.name}/{path.name}", path.parent.name, 0, 2)
    write_shard(str(path.parent.parent), recipe.replace(seed=1).to_json(), plan)


def of_another_split(path: Path, _recipe: Recipe) -> None:
    source = path.parent.parent / ("val" if path.parent.name == "train" else "train") / "00000.h5"
    shutil.copy(source, path)


def of_another_program(path: Path, _recipe: Recipe) -> None:
    with h5py.File(path, "w") as file:
        file["images"] = [1, 2, 3]
        file.attrs["format"], file.attrs["split"] = 1, "train"


def not_readable(path: Path, _recipe: Recipe) -> None:
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(5000))


def text(path: Path, _recipe: Recipe) -> None:
    path.write_text("mine")


def dangling(path: Path, _recipe: Recipe) -> None:
    path.symlink_to("nowhere")


USERS = [of_another_recipe, of_another_split, of_another_program, not_readable, text, dangling]


@pytest.mark.parametrize("overwrite", [False, True], ids=["going on", "overwrite"])
@pytest.mark.parametrize("finished", [False, True], ids=["unfinished", "finished"])
@pytest.mark.parametrize("make", USERS)
def test_users_file_with_a_shards_name_stays(
    make: Callable[[Path, Recipe], None],
    finished: bool,
    overwrite: bool,
    recipe: Recipe,
    again: Callable[..., Manifest],
    dataset: Path,
) -> None:
    path = dataset / "train/20240101.h5"
    make(path, recipe)
    before = os.readlink(path) if path.is_symlink() else path.read_bytes()
    if not finished:
        (dataset / "manifest.json").unlink()
    again(recipe=recipe.replace(splits={"train": 7}), overwrite=overwrite)
    assert (os.readlink(path) if path.is_symlink() else path.read_bytes()) == before
    assert verify(dataset).passed


@pytest.mark.parametrize("overwrite", [False, True], ids=["going on", "overwrite"])
@pytest.mark.parametrize("make", USERS)
def test_users_file_in_the_place_of_a_shard_is_refused_by_name(
    make: Callable[[Path, Recipe], None], overwrite: bool, recipe: Recipe, refused: Callable[..., str], dataset: Path
) -> None:
    (dataset / "manifest.json").unlink()
    path = dataset / "train/00001.h5"
    path.unlink()
    make(path, recipe)
    assert refused(overwrite=overwrite).startswith(f"{path} is in the place of a shard")


def test_copies_in_a_folder_of_another_name_stay(recipe: Recipe, again: Callable[..., Manifest], dataset: Path) -> None:
    shutil.copytree(dataset / "train", dataset / "train-backup")
    (dataset / "manifest.json").unlink()
    again(shard_size=2**20)
    again(recipe=recipe.replace(seed=1), overwrite=True)
    assert len(list((dataset / "train-backup").glob("*.h5"))) == 3


# -- what a stopped run has left


def stopped_after(number: int, splits: dict[str, int], recipe: Recipe, folder: Path, shard_size: int) -> None:
    """A run that made only so many shards."""

    class Stops(ThreadPoolExecutor):
        count = 0

        def submit(self, function: Callable[..., Any], /, *arguments: Any, **options: Any) -> Future[Any]:
            if self.count == number:
                raise KeyboardInterrupt
            self.count += 1
            future = super().submit(function, *arguments, **options)
            future.result()
            return future

    with Stops(1) as executor, pytest.raises(KeyboardInterrupt):
        generate(recipe.replace(splits=splits), folder, executor=executor, shard_size=shard_size, progress=False)


@pytest.mark.parametrize("textures", [1, 3, 100])
def test_extension_in_other_shards_than_one_that_was_stopped_leaves_no_texture_twice(
    textures: int, recipe: Recipe, again: Callable[..., Manifest], dataset: Path
) -> None:
    stopped_after(3, {"train": 10}, recipe, dataset, 2 * recipe.texture_bytes)
    assert len(shards(dataset)) == 7
    manifest = again(recipe=recipe.replace(splits={"train": 10}), shard_size=textures * recipe.texture_bytes)
    assert shards(dataset) == sorted(shard.file for shard in manifest.shards)
    assert verify(dataset).passed


def test_extension_that_is_given_up_leaves_nothing(
    recipe: Recipe, again: Callable[..., Manifest], original: Path, dataset: Path, contents: Contents
) -> None:
    stopped_after(2, {"train": 10, "test": 1}, recipe, dataset, 4 * recipe.texture_bytes)
    again()
    assert {name: digest for name, digest in contents(dataset).items() if digest != "folder"} == {
        name: digest for name, digest in contents(original).items() if digest != "folder"
    }


# -- damage that crashes HDF5

CRASH = """
import os, sys, h5py
real = h5py.File
def opened(name, *arguments, **options):
    if isinstance(name, os.PathLike) and b"crash" in open(name, "rb").read()[-5:]:
        os.abort()  # as HDF5 does on some damage
    return real(name, *arguments, **options)
h5py.File = opened
"""


def test_shard_that_crashes_hdf5_is_met_once(
    gptex: str, original: Path, dataset: Path, tmp_path: Path, contents: Contents
) -> None:
    """A worker that opens a shard with this damage is killed, as by HDF5."""
    (tmp_path / "sitecustomize.py").write_text(CRASH)
    (dataset / "manifest.json").unlink()
    with (dataset / "train/00001.h5").open("ab") as file:
        file.write(b"crash")
    command = [gptex, "generate", dataset, "--recipe", original / "recipe.toml", "--shard-size", "80kB", "--quiet"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    run = [subprocess.run(command, check=False, capture_output=True, text=True, env=environment) for _ in range(2)]
    assert run[0].returncode == 1
    assert "a worker process ended unexpectedly (signal 6, Aborted)" in run[0].stderr
    assert (run[1].returncode, run[1].stderr) == (0, "")
    assert contents(dataset) == contents(original)
