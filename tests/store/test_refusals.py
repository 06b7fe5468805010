"""Generation is never at another's cost: what is refused, what --overwrite deletes, one run at a time, full disks."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from gptex import DatasetError, GptexError, Recipe, RecipeError, generate, plan, verify
from gptex.store import WorkerPool
from gptex.store.generate import estimated_seconds

Contents = Callable[[Path], dict[str, str]]


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
