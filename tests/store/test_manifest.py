"""The manifest: read back as it was written, as docs/format.md has it, and refused in one helpful line when it is not that."""

import hashlib
import json
import platform
import re
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest

from gptex import DatasetError, Recipe, verify
from gptex.store import Manifest

Change = Callable[[dict[str, Any]], Any]


def test_holds_what_the_format_says(recipe: Recipe, original: Path) -> None:
    data = json.loads((original / "manifest.json").read_text(encoding="utf-8"))
    assert data["format"] == 1
    text = json.dumps(data["recipe"], sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert data["recipe_sha256"] == hashlib.sha256(text.encode()).hexdigest()
    assert Recipe(**data["recipe"], splits={"train": 6, "val": 2}) == recipe
    assert data["splits"] == {"train": {"textures": 12, "per_class": 6}, "val": {"textures": 4, "per_class": 2}}
    assert data["classes"] == ["2-9", "3.5-9"]
    assert [(s["file"], s["split"], s["first"], s["count"], s["compression"]) for s in data["shards"]] == [
        ("train/00000.h5", "train", 0, 4, "none"),
        ("train/00001.h5", "train", 4, 4, "none"),
        ("train/00002.h5", "train", 8, 4, "none"),
        ("val/00000.h5", "val", 0, 4, "none"),
    ]
    for shard in data["shards"]:
        content = (original / shard["file"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (len(content), hashlib.sha256(content).hexdigest())
    assert {name: data["versions"][name] for name in ("gptex", "numpy", "scipy", "h5py")} == {
        name: version(name) for name in ("gptex", "numpy", "scipy", "h5py")
    }
    assert (data["versions"]["python"], data["versions"]["machine"]) == (platform.python_version(), platform.machine())
    assert {name: list(losses) for name, losses in data["losses"].items()} == {"fine": ["2", "3.5"], "coarse": ["9"]}
    assert all(0 <= loss <= 1e-3 for losses in data["losses"].values() for loss in losses.values())


def test_is_read_back_as_it_was_written(recipe: Recipe, original: Path, tmp_path: Path) -> None:
    manifest = Manifest.read(original)
    manifest.write(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == (original / "manifest.json").read_bytes()
    assert Manifest.read(tmp_path) == manifest
    assert manifest.full_recipe() == recipe
    assert (manifest.textures, manifest.bytes) == (16, sum(path.stat().st_size for path in original.glob("*/*.h5")))


def test_same_dataset_has_the_same_manifest_bytes(recipe: Recipe, original: Path, tmp_path: Path) -> None:
    Manifest.of(recipe, list(Manifest.read(original).shards)).write(tmp_path)
    assert (tmp_path / "manifest.json").read_bytes() == (original / "manifest.json").read_bytes()


def test_keys_of_a_later_version_are_ignored(dataset: Path) -> None:
    def add(data: dict[str, Any]) -> None:
        for part in (data, data["splits"]["train"], data["shards"][0], data["versions"]):
            part["news"] = "of 2030"

    before = Manifest.read(dataset)
    change(dataset, add)
    assert Manifest.read(dataset).shards == before.shards
    assert verify(dataset).passed


def change(folder: Path, how: Change) -> None:
    data = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    how(data)
    (folder / "manifest.json").write_text(json.dumps(data), encoding="utf-8")


def put(*path: Any) -> Change:
    """A change that puts the last of `path` at the place the others name."""
    *steps, key, value = path

    def how(data: Any) -> None:
        for step in steps:
            data = data[step]
        data[key] = value

    return how


def test_byte_order_mark_is_passed_over(dataset: Path) -> None:
    before = Manifest.read(dataset)
    path = dataset / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8"), encoding="utf-8-sig")
    assert Manifest.read(dataset) == before


UNREADABLE: dict[str, tuple[bytes, str]] = {
    "cut short": (b'{"format": 1, "reci', r"is not JSON \(.*\): delete it and run the same `gptex generate` again"),
    "empty": (b"", "is not JSON .*: delete it"),
    "not text": (b"\x89HDF\r\n\x1a\n\xff\xfe", "is not JSON .*: delete it"),
    "nested without end": (b'{"recipe": ' + 10**5 * b"[", "is not JSON .*: delete it"),
    "a number without end": (b'{"format": ' + 5000 * b"9" + b"}", "is not JSON .*: delete it"),
    "a list": (b"[1, 2, 3]", "is not a gptex manifest"),
    "another program's": (b'{"name": "app", "version": "1.0"}', "is damaged|is not a gptex manifest"),
    "of a future format": (b'{"format": 99, "news": true}', r"has format 99, this gptex reads up to 1: upgrade gptex"),
}


@pytest.mark.parametrize(("content", "message"), UNREADABLE.values(), ids=UNREADABLE.keys())
def test_what_is_no_manifest_is_refused(content: bytes, message: str, dataset: Path) -> None:
    (dataset / "manifest.json").write_bytes(content)
    with pytest.raises(DatasetError, match=message) as error:
        Manifest.read(dataset)
    check(str(error.value), dataset)


WRONG: dict[str, Change] = {
    **{f"without {key}": lambda data, key=key: data.pop(key) for key in ("format", "recipe", "splits", "classes", "shards")},
    "shard without its hash": lambda data: data["shards"][0].pop("arrays_sha256"),
    "hash that is none": put("shards", 0, "sha256", "0123"),
    "file beside the folder": put("shards", 0, "file", "../00000.h5"),
    "file below a parent": put("shards", 0, "file", "train/../../00000.h5"),
    "file from the root": put("shards", 0, "file", "/etc/00000.h5"),
    "file of another kind": put("shards", 0, "file", "train/notes.txt"),
    "file with a newline": put("shards", 0, "file", "train/00000.h5\n"),
    "shard of no textures": put("shards", 0, "count", 0),
    "shard larger than any disk": put("shards", 0, "bytes", 10**400),
    "recipe with half a character": put("recipe", "name", "\ud800"),
    "recipe with an unknown key": put("recipe", "length", 3),
    "recipe with counts": put("recipe", "splits", {"train": 6}),
    "recipe without a shape": lambda data: data["recipe"].pop("shape"),
    "recipe that is none": put("recipe", "mine"),
    "split of a forbidden name": lambda data: data["splits"].update({"../train": data["splits"].pop("train")}),
    "splits of the wrong size": put("splits", "train", "textures", 14),
    "classes of another recipe": put("classes", ["2-9", "4-9"]),
    "hash of another recipe": put("recipe_sha256", "0" * 64),
    "shard missing": lambda data: data["shards"].pop(1),
    "shard twice": lambda data: data["shards"].append(data["shards"][1]),
    "shard of no split": lambda data: data["shards"].append({**data["shards"][0], "split": "test", "file": "test/00000.h5"}),
    "shard in another split's folder": put("shards", 0, "file", "val/00000.h5"),
}


@pytest.mark.parametrize("how", WRONG.values(), ids=WRONG.keys())
def test_manifest_that_is_wrong_is_refused(how: Change, dataset: Path) -> None:
    change(dataset, how)
    with pytest.raises(DatasetError) as error:
        verify(dataset)
    check(str(error.value), dataset)


def check(message: str, dataset: Path) -> None:
    """One line that names the file and, after a colon, says more."""
    assert "\n" not in message
    assert message.startswith(str(dataset / "manifest.json"))


def test_missing_manifest_is_said_to_be_missing_and_why(dataset: Path, tmp_path: Path) -> None:
    (dataset / "manifest.json").unlink()
    (tmp_path / "empty").mkdir()
    why = {"dataset": "not finished, .*`gptex generate`", "empty": "not a gptex dataset", "nowhere": "does not exist"}
    for place, reason in why.items():
        with pytest.raises(DatasetError, match=f"^{re.escape(str(tmp_path / place))} .*{reason}") as error:
            Manifest.read(tmp_path / place)
        assert "\n" not in str(error.value)


def test_file_in_place_of_the_folder_is_an_error_of_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(DatasetError, match=r"cannot read .*: Not a directory$"):
        Manifest.read(tmp_path / "file")


def test_is_written_whole_or_not_at_all(original: Path, dataset: Path, read_only: Callable[[Path], None]) -> None:
    manifest = Manifest.read(dataset)
    read_only(dataset)
    with pytest.raises(DatasetError, match=r"^cannot write .*manifest\.json: (Read-only file system|Permission denied)$"):
        manifest.write(dataset)
    assert (dataset / "manifest.json").read_bytes() == (original / "manifest.json").read_bytes()
    assert not list(dataset.glob(".*"))
