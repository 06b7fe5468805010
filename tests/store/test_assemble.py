"""Datasets of textures from elsewhere appear whole or not at all, in the place that is named, and nothing else is touched."""

import json
import os
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptex import DatasetError
from gptex.recipe import Texture
from gptex.store.assemble import assembled, remove, store_source
from gptex.store.source import Source

SHAPE = (8, 12)
LABELS = [0, 2, 2, 1, 0]


@pytest.fixture
def source():
    return Source(
        name="elsewhere", shape=SHAPE, dtype="float32", class_scales=((2.0,), (3.0,), (4.0,)), origin={"licence": "not stated"}
    )


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=(5, *SHAPE)).astype("f4")


@pytest.fixture
def store(source, images):
    """Stores the five images, three a shard; `fail` raises that before the last one."""

    def textures(fail):
        for number, (image, label) in enumerate(zip(images, LABELS, strict=True)):
            if fail and number == 4:
                raise fail
            yield Texture(image, label, source.length_scales(label))

    def run(out, fail=None, **options):
        return store_source(out, source, LABELS, textures(fail), shard_size=3 * images[0].nbytes, progress=False, **options)

    return run


@pytest.fixture
def held(store, images):
    """Checks a folder by h5py and json alone."""

    def check(out):
        manifest = json.loads((out / "manifest.json").read_bytes())
        assert [(shard["file"], shard["first"], shard["count"]) for shard in manifest["shards"]] == [
            ("train/00000.h5", 0, 2),
            ("train/00001.h5", 2, 3),
        ]
        assert manifest["splits"] == {"train": {"textures": 5, "per_class": [2, 1, 2]}}
        arrays = []
        for shard in manifest["shards"]:
            with h5py.File(out / shard["file"]) as file:
                arrays.append(file["images"][()])
        np.testing.assert_array_equal(np.concatenate(arrays), images)
        return True

    return check


FILES = ["README.md", "manifest.json", "train", "train/00000.h5", "train/00001.h5"]


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.mark.parametrize("place", ["out", "deep/er/out", "with space and ℓ", "there"])
def test_a_dataset_is_where_it_was_asked_for_and_nothing_is_beside_it(place, store, held, tmp_path):
    (tmp_path / "there").mkdir()
    store(tmp_path / place)
    assert held(tmp_path / place)
    assert names(tmp_path / place) == FILES
    hidden = [name for name in names(tmp_path) if Path(name).name.startswith(".")]
    assert hidden == []


def test_a_relative_path_with_dots_is_followed(store, held, tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    monkeypatch.chdir(tmp_path / "a")
    store("../b/../c")
    assert held(tmp_path / "c")
    store(".")
    assert held(tmp_path / "a")
    assert Path.cwd() == tmp_path / "a"


@pytest.mark.parametrize("there", [False, True])
@pytest.mark.parametrize("error", [DatasetError("bad"), KeyboardInterrupt(), OSError(5, "Input/output error"), MemoryError()])
def test_after_any_error_it_is_as_before(error, there, store, held, tmp_path):
    if there:
        (tmp_path / "out").mkdir()
    before = names(tmp_path)
    with pytest.raises(DatasetError if isinstance(error, OSError) else type(error)):
        store(tmp_path / "out", error)
    assert names(tmp_path) == before
    store(tmp_path / "out")
    assert held(tmp_path / "out")


def test_fewer_textures_than_labels_are_an_error(source, images, tmp_path):
    with pytest.raises(ValueError, match="textures for a shard of"):  # a bug of the caller
        store_source(tmp_path / "out", source, [0] * 5, (Texture(image, 0, (2.0,)) for image in images[:4]), progress=False)
    assert names(tmp_path) == []


@pytest.mark.parametrize("what", [".hidden", "file.txt", "folder/"])
def test_what_lies_in_the_folder_is_not_touched(what, store, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    if what.endswith("/"):
        (out / what).mkdir()
    else:
        (out / what).write_text("mine")
    before = names(tmp_path)
    with pytest.raises(DatasetError, match="holds something: choose a new or empty folder"):
        store(out)
    assert names(tmp_path) == before


@pytest.mark.parametrize("there", [False, True])
def test_a_second_run_is_told_of_the_first(there, store, held, tmp_path):
    out = tmp_path / "out"
    if there:
        out.mkdir()
    with assembled(out) as part:
        before = names(tmp_path)
        with pytest.raises(DatasetError, match="is being written by another run: wait for it, or stop it"):
            store(out)
        assert names(tmp_path) == before
        (part / "manifest.json").write_text("first")
    assert names(tmp_path) == ["out", "out/manifest.json"]


def test_a_folder_that_fills_meanwhile_is_not_replaced(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(DatasetError, match="cannot write"), assembled(out):  # noqa: PT012
        out.mkdir()
        (out / "mine").touch()
    assert names(tmp_path) == ["out", "out/mine"]


def test_a_folder_that_was_there_gets_its_manifest_last(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(DatasetError, match="cannot write"), assembled(out) as part:  # noqa: PT012
        (part / "manifest.json").touch()
        for folder in (part / "train", out / "train"):
            folder.mkdir()
            (folder / "00000.h5").touch()
    assert names(out) == ["train", "train/00000.h5"]


@pytest.mark.parametrize("place", [".out.part", "out/.part"])
def test_what_a_killed_run_has_left_is_deleted_but_nothing_of_the_users(place, store, held, tmp_path):
    part = tmp_path / place
    (part / "train").mkdir(parents=True)
    for name in ("train/00007.h5", "train/.00008.h5.part", ".manifest.json.0123abcd.part", "README.md"):
        (part / name).write_text("left")
    (part / "train/photo.png").write_text("mine")
    with pytest.raises(DatasetError, match=r"photo\.png is no file of a dataset"):
        store(tmp_path / "out")
    assert (part / "train/00007.h5").exists()
    (part / "train/photo.png").unlink()
    store(tmp_path / "out")
    assert held(tmp_path / "out")
    assert names(tmp_path / "out") == FILES
    assert not part.exists()


def test_with_keep_the_next_run_begins_with_what_was_left(tmp_path):
    out = tmp_path / "out"
    with pytest.raises(KeyError), assembled(out, keep=True) as part:  # noqa: PT012
        (part / "train").mkdir()
        (part / "train/00000.h5").write_text("half")
        raise KeyError
    assert not out.exists()
    with assembled(out, keep=True) as part:
        assert (part / "train/00000.h5").read_text() == "half"
    assert names(tmp_path) == ["out", "out/train", "out/train/00000.h5"]


def test_only_datasets_are_removed(tmp_path):
    remove(tmp_path / "nothing")
    folder = tmp_path / "folder"
    (folder / "train").mkdir(parents=True)
    (folder / "manifest.json").touch()
    (folder / "train" / "00000.h5").symlink_to(tmp_path / "elsewhere.h5")
    (tmp_path / "elsewhere.h5").write_text("mine")
    with pytest.raises(DatasetError, match="is no file of a dataset"):
        remove(folder)
    (folder / "train" / "00000.h5").unlink()
    remove(folder)
    assert names(tmp_path) == ["elsewhere.h5"]


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's")
def test_a_mounted_folder_can_be_the_place(store, held, small_disk):
    disk = small_disk(2**20)
    store(disk)
    assert held(disk)
    assert names(disk) == FILES


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's")
def test_a_read_only_place_is_refused(store, read_only, tmp_path):
    parent = tmp_path / "parent"
    (parent / "out").mkdir(parents=True)
    read_only(parent)
    for out in (parent / "out", parent / "new"):
        with pytest.raises(DatasetError, match="cannot write"):
            store(out)
    assert names(parent) == ["out"]


@pytest.mark.skipif(sys.platform != "linux", reason="mounts are Linux's")
@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_a_disk_that_fills_up_meanwhile_leaves_nothing(compression, source, small_disk, tmp_path):
    big = source.model_copy(update={"shape": (128, 128)})
    disk = small_disk(2**21)
    rng = np.random.default_rng(1)

    def textures():
        for number in range(12):
            if number == 5:
                (disk / "other").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize))
            yield Texture(rng.normal(size=(128, 128)).astype("f4"), 0, (2.0,))

    with pytest.raises(DatasetError, match="No space left on device"):
        store_source(disk / "out", big, [0] * 12, textures(), shard_size=2**17, compression=compression, progress=False)
    assert names(disk) == ["other"]
