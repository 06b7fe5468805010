"""A shard is what docs/format.md says, read with nothing but h5py, numpy, hashlib and json; and it is whole or not there."""

import hashlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptex import Component, DatasetError, Recipe
from gptex.store import ShardPlan
from gptex.store.shard import make_shard, write_shard

COMPRESSIONS = ["none", "gzip", "lzf"]
FIELD = Component(name="field", length_scales=[2, 3])

RECIPES = {
    "2-D float32": Recipe(name="plane", shape=[16, 24], components=[FIELD, Component(name="coarse", length_scales=[5.5])]),
    "2-D float16": Recipe(name="half", shape=[16, 24], components=[FIELD], dtype="float16"),
    "2-D float64": Recipe(name="double", shape=[16, 24], components=[FIELD], dtype="float64", noise_std=0.5),
    "1-D float32": Recipe(name="line", shape=[100], components=[FIELD]),
    "3-D float32": Recipe(name="näme", shape=[8, 10, 12], components=[FIELD]),
}


def write(folder: Path, recipe: Recipe, plan: ShardPlan, arrays_sha256: str | None = None) -> Path:
    write_shard(str(folder), recipe.to_json(), plan, arrays_sha256)
    return folder / plan.file


def planned(compression: str = "none") -> ShardPlan:
    return ShardPlan("test/00001.h5", "test", first=3, count=5, compression=compression)


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_holds_what_the_format_says(recipe: Recipe, compression: str, tmp_path: Path) -> None:
    with h5py.File(write(tmp_path, recipe, planned(compression)), "r") as file:
        assert set(file) == {"images", "labels", "length_scales", "index"}
        images, labels, length_scales, index = (file[name] for name in ("images", "labels", "length_scales", "index"))
        assert images.shape == (5, *recipe.shape)
        assert images.dtype == np.dtype(recipe.dtype).newbyteorder("<")
        assert (labels.shape, labels.dtype) == ((5,), np.dtype("<i8"))
        assert (length_scales.shape, length_scales.dtype) == ((5, len(recipe.components)), np.dtype("<f8"))
        assert (index.shape, index.dtype) == ((5,), np.dtype("<i8"))
        assert index[()].tolist() == [3, 4, 5, 6, 7]
        assert labels[()].tolist() == [1, 0, 1, 0, 1]
        assert length_scales[:, 0].tolist() == [3, 2, 3, 2, 3]

        assert set(file.attrs) == {"format", "split", "recipe", "recipe_sha256", "arrays_sha256"}
        assert file.attrs["format"] == 1
        assert file.attrs["split"] == "test"
        text = file.attrs["recipe"]
        assert text == json.dumps(json.loads(text), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        assert "splits" not in json.loads(text)
        assert json.loads(text)["name"] == recipe.name
        assert file.attrs["recipe_sha256"] == hashlib.sha256(text.encode()).hexdigest()
        arrays = b"".join(dataset[()].tobytes() for dataset in (images, labels, length_scales, index))
        assert file.attrs["arrays_sha256"] == hashlib.sha256(arrays).hexdigest()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_holds_the_textures_of_its_recipe(recipe: Recipe, compression: str, tmp_path: Path) -> None:
    with h5py.File(write(tmp_path, recipe, planned(compression)), "r") as file:
        again = Recipe(**json.loads(file.attrs["recipe"]))
        for row, i in enumerate(file["index"]):
            texture = again.texture("test", i)
            np.testing.assert_array_equal(file["images"][row], texture.image)
            assert file["labels"][row] == texture.label
            assert tuple(file["length_scales"][row]) == texture.length_scales


@pytest.mark.parametrize("recipe", RECIPES.values(), ids=RECIPES.keys())
def test_uncompressed_images_can_be_mapped(recipe: Recipe, tmp_path: Path) -> None:
    path = write(tmp_path, recipe, planned())
    with h5py.File(path, "r") as file:
        images = file["images"]
        assert images.chunks is None
        mapped = np.memmap(path, images.dtype, "r", offset=images.id.get_offset(), shape=images.shape)
        np.testing.assert_array_equal(mapped, images[()])


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_compressed_images_lie_one_a_chunk(compression: str, tmp_path: Path) -> None:
    recipe = RECIPES["2-D float32"]
    with h5py.File(write(tmp_path, recipe, planned(compression)), "r") as file:
        assert file["images"].compression == compression
        assert file["images"].chunks == (1, *recipe.shape)


@pytest.mark.parametrize("compression", ["none", "gzip"])  # LZF's hash table starts as it happens to lie in memory
def test_two_writes_give_the_same_bytes(compression: str, tmp_path: Path) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        write(tmp_path / folder, RECIPES["2-D float32"], planned(compression))
    assert (tmp_path / "one/test/00001.h5").read_bytes() == (tmp_path / "two/test/00001.h5").read_bytes()


def test_what_is_reported_is_what_lies_there(tmp_path: Path) -> None:
    shard = write_shard(str(tmp_path), RECIPES["1-D float32"].to_json(), planned())
    content = (tmp_path / shard.file).read_bytes()
    assert (shard.bytes, shard.sha256) == (len(content), hashlib.sha256(content).hexdigest())
    with h5py.File(tmp_path / shard.file, "r") as file:
        assert shard.arrays_sha256 == file.attrs["arrays_sha256"]


def test_a_whole_shard_is_kept_and_any_other_file_replaced(tmp_path: Path) -> None:
    recipe = RECIPES["2-D float32"]
    path = write(tmp_path, recipe, planned("gzip"))
    whole, written = path.read_bytes(), path.stat().st_mtime_ns
    kept = make_shard(str(tmp_path), recipe.to_json(), planned("none"))
    assert (kept.compression, path.stat().st_mtime_ns) == ("gzip", written)
    path.write_bytes(whole[: len(whole) // 2])
    made = make_shard(str(tmp_path), recipe.to_json(), planned("gzip"))
    assert path.read_bytes() == whole
    assert made == kept


def test_a_shard_without_its_recipe_is_replaced(tmp_path: Path) -> None:
    recipe = RECIPES["2-D float32"]
    path = write(tmp_path, recipe, planned())
    whole = path.read_bytes()
    with h5py.File(path, "r+") as file:
        del file.attrs["recipe"]
    make_shard(str(tmp_path), recipe.to_json(), planned())
    assert path.read_bytes() == whole


def test_old_file_is_replaced_and_never_written_to(tmp_path: Path) -> None:
    path, old = tmp_path / "test/00001.h5", tmp_path / "old"
    path.parent.mkdir()
    path.write_bytes(b"old")
    old.hardlink_to(path)  # as a reader sees it that has it open
    write(tmp_path, RECIPES["2-D float32"], planned())
    assert old.read_bytes() == b"old"
    assert h5py.is_hdf5(path)
    assert list(path.parent.iterdir()) == [path]


def test_another_hash_than_expected_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "test/00001.h5"
    path.parent.mkdir()
    path.write_bytes(b"old")
    with pytest.raises(DatasetError, match="another hash"):
        write(tmp_path, RECIPES["2-D float32"], planned(), arrays_sha256="0" * 64)
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


def test_a_read_only_folder_leaves_the_old_file(read_only: Callable[[Path], None], tmp_path: Path) -> None:
    path = tmp_path / "dataset/test/00001.h5"
    path.parent.mkdir(parents=True)
    path.write_bytes(b"old")
    read_only(tmp_path / "dataset")
    with pytest.raises(DatasetError, match=r"^cannot write .*00001\.h5: (Read-only file system|Permission denied)$"):
        write(tmp_path / "dataset", RECIPES["2-D float32"], planned())
    assert path.read_bytes() == b"old"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="no limits on the size of files")
@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("share", [0, 0.2, 0.999])
def test_a_full_disk_is_a_clear_error_and_leaves_the_old_file(
    share: float, compression: str, run_python: Callable[..., Any], tmp_path: Path
) -> None:
    """The limit on the size of files stands for a full disk: each write beyond it fails."""
    recipe = Recipe(name="large", shape=[64, 64], components=[FIELD])
    path = write(tmp_path, recipe, planned(compression))
    written = path.stat().st_mtime_ns
    done = run_python(
        f"""
import resource
from gptex import GptexError
from gptex.store import ShardPlan
from gptex.store.shard import write_shard
resource.setrlimit(resource.RLIMIT_FSIZE, ({int(share * path.stat().st_size)}, resource.RLIM_INFINITY))
try:
    write_shard({str(tmp_path)!r}, {recipe.to_json()!r}, {planned(compression)!r})
except GptexError as error:
    print(error)
"""
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, f"cannot write {path}: File too large\n", "")
    assert list(path.parent.iterdir()) == [path]
    assert path.stat().st_mtime_ns == written
