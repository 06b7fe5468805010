"""Verification names each bad shard and what is wrong with it, and no other; repair makes exactly those again."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from gptex import Component, DatasetError, Recipe, generate, repair, verify
from gptex.store import Manifest, ShardPlan
from gptex.store.shard import write_shard

Contents = Callable[[Path], dict[str, str]]


# -- ways to damage a shard


def missing(path: Path) -> None:
    path.unlink()


def cut_short(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:30_000])


def longer(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b"\0")


def zeros(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def pixel(path: Path) -> None:
    with h5py.File(path, "r", locking=False) as file:
        place = file["images"].id.get_offset() + file["images"].nbytes // 2
    flip(path, place)


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 0xFF
    path.write_bytes(content)


def edit(path: Path, name: str, change: Callable[[Any], Any]) -> None:
    with h5py.File(path, "r+") as file:
        file[name][...] = change(file[name][()])


def labels(path: Path) -> None:
    edit(path, "labels", lambda array: 1 - array)


def length_scales(path: Path) -> None:
    edit(path, "length_scales", lambda array: 2 * array)


def index(path: Path) -> None:
    edit(path, "index", lambda array: array + 1)


def images_with_their_hash(path: Path) -> None:
    edit(path, "images", np.negative)
    with h5py.File(path, "r+") as file:
        arrays = b"".join(file[name][()].tobytes() for name in ("images", "labels", "length_scales", "index"))
        file.attrs.modify("arrays_sha256", hashlib.sha256(arrays).hexdigest())


def another_format(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs.modify("format", 7)


def another_recipe(path: Path) -> None:
    recipe = Manifest.read(path.parent.parent).full_recipe().replace(seed=1)
    write_shard(str(path.parent.parent), recipe.to_json(), ShardPlan("train/00001.h5", "train", 4, 4))


def another_split(path: Path) -> None:
    shutil.copy(path.parent.parent / "val/00000.h5", path)


def swapped(path: Path) -> None:
    shutil.copy(path.with_name("00002.h5"), path)


FILES: dict[Callable[[Path], None], str] = {  # what verification says of a file
    missing: "is missing",
    cut_short: "has 30000 bytes, not .*: cut short",
    longer: "bytes, not .*another file",
    a_folder: "cut short or another file",
}
CONTENTS: dict[Callable[[Path], None], str] = {  # and of what is in it, where the manifest has the file's hash
    zeros: "damaged or cut short",
    pixel: "arrays that do not match their hash",
    labels: "labels that are not those of its recipe",
    length_scales: "other values in .length_scales. than textures 4 to 7 have",
    index: "other values in .index. than textures 4 to 7 have",
    images_with_their_hash: "other arrays than in the manifest",
    another_format: "has format 7, not 1",
    another_recipe: "was made from another recipe",
    another_split: "holds split 'val', not 'train'",
    swapped: "other values in .index. than textures 4 to 7 have",
}


# -- verification


def test_good_dataset_passes(original: Path, contents: Contents) -> None:
    before = contents(original)
    found = verify(original)
    assert found.passed
    assert (found.problems, str(found)) == ([], "4 shards, all right")
    assert found.manifest == Manifest.read(original)
    assert contents(original) == before


@pytest.mark.parametrize("damage", [*FILES, *CONTENTS])
def test_bad_shard_is_named_with_its_reason_and_no_other(damage: Callable[[Path], None], dataset: Path) -> None:
    damage(dataset / "train/00001.h5")
    found = verify(dataset)
    assert not found.passed
    assert [problem.file for problem in found.problems] == ["train/00001.h5"]
    reason = found.problems[0].reason
    assert re.search(FILES.get(damage, "other bytes than in the manifest|bytes, not .*another file"), reason)
    assert str(found).splitlines() == [f"train/00001.h5: {reason}", "3 of 4 shards are right"]


@pytest.mark.parametrize("damage", CONTENTS)
def test_a_shard_with_the_wrong_contents_is_found_though_its_file_has_its_hash(
    damage: Callable[[Path], None], dataset: Path
) -> None:
    path, manifest = dataset / "train/00001.h5", dataset / "manifest.json"
    damage(path)
    data = json.loads(manifest.read_text())
    shard = next(shard for shard in data["shards"] if shard["file"] == "train/00001.h5")
    shard.update(bytes=path.stat().st_size, sha256=hashlib.sha256(path.read_bytes()).hexdigest())
    manifest.write_text(json.dumps(data))
    (problem,) = verify(dataset).problems
    assert problem.file == "train/00001.h5"
    assert re.search(CONTENTS[damage], problem.reason)


def test_bad_shards_are_named_in_the_order_of_the_manifest(dataset: Path) -> None:
    for file in ("val/00000.h5", "train/00002.h5", "train/00000.h5"):
        pixel(dataset / file)
    assert [problem.file for problem in verify(dataset).problems] == ["train/00000.h5", "train/00002.h5", "val/00000.h5"]


def test_same_arrays_in_another_file_are_named(dataset: Path) -> None:
    with h5py.File(dataset / "val/00000.h5", "r+") as file:
        file.attrs.modify("recipe_sha256", "0" * 64)
    found = verify(dataset)
    assert [problem.file for problem in found.problems] == ["val/00000.h5"]
    assert "other bytes than in the manifest" in found.problems[0].reason


def test_a_flipped_byte_anywhere_in_a_file_is_found(gptex: str, here: Executor, tmp_path: Path) -> None:
    """HDF5 itself crashes on some damaged files, or never comes back: hence the process and its time limit."""
    recipe = Recipe(name="tiny", shape=[16, 16], components=[Component(name="f", length_scales=[2, 3])], splits={"train": 30})
    generate(recipe, tmp_path, executor=here, shard_size=1, progress=False)
    shards = sorted(tmp_path.glob("train/*.h5"))
    with h5py.File(shards[0], "r") as file:
        start, size = file["images"].id.get_offset(), file["images"].nbytes
    content = shards[0].read_bytes()
    structure = [place for place, byte in enumerate(content) if byte and not start <= place < start + size]
    for number, path in enumerate(shards):
        flip(path, structure[number * len(structure) // len(shards)])
    done = subprocess.run([gptex, "verify", tmp_path, "--quiet"], check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert done.stderr == f"gptex: `gptex repair {tmp_path}` makes bad shards again\n"
    *named, total = done.stdout.splitlines()
    assert [line.split(": ")[0] for line in named] == [f"train/{path.name}" for path in shards]
    assert total == "0 of 60 shards are right"


# -- repair


@pytest.mark.parametrize(
    "damages",
    [[missing, pixel, zeros], [labels, cut_short, another_format], [swapped, images_with_their_hash, longer]],
    ids=lambda damages: ", ".join(damage.__name__ for damage in damages),
)
def test_repair_makes_bad_shards_again_and_leaves_the_others(
    damages: list[Callable[[Path], None]], original: Path, dataset: Path, contents: Contents
) -> None:
    untouched = dataset / "train/00002.h5"
    before = untouched.stat()
    bad = ["train/00000.h5", "train/00001.h5", "val/00000.h5"]
    for damage, file in zip(damages, bad, strict=True):
        damage(dataset / file)
    found = repair(dataset, workers=2)
    assert [problem.file for problem in found.problems] == bad
    assert contents(dataset) == contents(original)
    assert (untouched.stat().st_ino, untouched.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert verify(dataset).passed


def test_repair_makes_all_but_the_manifest_again(original: Path, dataset: Path, contents: Contents) -> None:
    shutil.rmtree(dataset / "train")
    (dataset / "recipe.toml").unlink()
    repair(dataset, workers=1)
    assert contents(dataset) == contents(original)


@pytest.mark.parametrize("compression", ["gzip", "lzf"])
def test_repair_keeps_the_compression(
    compression: Any, recipe: Recipe, shard_size: int, here: Executor, tmp_path: Path
) -> None:
    made = generate(recipe, tmp_path, executor=here, shard_size=shard_size, compression=compression, progress=False)
    path = tmp_path / "train/00001.h5"
    flip(path, path.stat().st_size - 1000)
    assert [problem.file for problem in verify(tmp_path).problems] == ["train/00001.h5"]
    repair(tmp_path, workers=1)
    assert verify(tmp_path).passed
    hashes = [(shard.compression, shard.arrays_sha256) for shard in Manifest.read(tmp_path).shards]
    assert hashes == [(compression, shard.arrays_sha256) for shard in made.shards]


def test_repair_of_a_good_dataset_changes_nothing(original: Path, dataset: Path, contents: Contents) -> None:
    manifest = (dataset / "manifest.json").stat()
    assert repair(dataset).passed
    assert contents(dataset) == contents(original)
    assert (dataset / "manifest.json").stat().st_mtime_ns == manifest.st_mtime_ns


def test_repair_is_refused_where_the_arrays_would_be_others(dataset: Path, contents: Contents) -> None:
    data = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    data["shards"][1]["arrays_sha256"] = "0" * 64
    (dataset / "manifest.json").write_text(json.dumps(data), encoding="utf-8")
    pixel(dataset / "train/00001.h5")
    before = contents(dataset)
    with pytest.raises(DatasetError, match=r"another hash than in the manifest.*`gptex generate --overwrite`") as error:
        repair(dataset, workers=1)
    assert "\n" not in str(error.value)
    assert contents(dataset) == before


def test_folder_in_place_of_a_shard_is_not_deleted_by_repair(dataset: Path) -> None:
    a_folder(dataset / "train/00001.h5")
    (dataset / "train/00001.h5/notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"cannot write .*00001\.h5: it is a folder"):
        repair(dataset, workers=1)
    assert (dataset / "train/00001.h5/notes.txt").read_text() == "mine"


@pytest.mark.parametrize("place", ["empty", "nowhere"])
def test_repair_needs_a_manifest_and_makes_no_folder(place: str, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DatasetError, match=r"has no manifest\.json|does not exist"):
        repair(tmp_path / place)
    assert [path.name for path in tmp_path.rglob("*")] == ["empty"]


def test_read_only_dataset_is_verified_and_its_repair_refused(
    dataset: Path, read_only: Callable[[Path], None], contents: Contents
) -> None:
    pixel(dataset / "train/00001.h5")
    before = contents(dataset)
    read_only(dataset)
    assert [problem.file for problem in verify(dataset).problems] == ["train/00001.h5"]
    with pytest.raises(DatasetError, match=r"^cannot write into .*: (Read-only file system|Permission denied)$"):
        repair(dataset)
    assert contents(dataset) == before
