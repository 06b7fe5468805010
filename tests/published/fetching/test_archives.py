"""From a published archive to a dataset, whatever breaks on the way; a real server and real processes."""

from __future__ import annotations

import hashlib
import json
import shutil
import signal
import subprocess
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import gptex
from gptex import Component, DatasetError, Recipe, fetch, generate

from ..server import Fault
from .runs import ARCHIVE, COMMAND, PART, hashes, images_in, names, started, succeed, wait_for


def test_an_archive_becomes_a_dataset_in_the_cache_which_keeps_nothing_else(source, fields, cache):
    folder = fetch(source, progress=False)
    assert folder == cache / "mine"
    np.testing.assert_array_equal(images_in(folder), fields)
    found = json.loads((folder / "manifest.json").read_bytes())["source"]
    assert found["name"] == "mine"
    assert found["origin"]["licence"] == "CC0"
    assert found["origin"]["file"] == ARCHIVE
    assert found["origin"]["left_out"] == ["crosses/readme.txt"]
    visible = [name for name in names(cache) if not name.startswith(".")]
    assert visible == ["archives", "mine", "mine/README.md", "mine/manifest.json", "mine/train", "mine/train/00000.h5"]


def test_a_second_run_asks_nobody_and_says_the_same(source, server, cache):
    first = succeed("fetch", source)
    asked, before = len(server.requests), hashes(cache)
    assert asked == 1
    assert succeed("fetch", source) == first
    assert str(cache / "mine") in first
    assert "label 1: 20 textures of 10 pixels" in first
    assert "left out: crosses/readme.txt" in first
    assert len(server.requests) == asked
    assert hashes(cache) == before


def test_it_goes_where_it_is_told_to(source, fields, cache, tmp_path):
    folder = fetch(str(source), to=tmp_path / "größe ℓ", progress=False)
    assert folder == tmp_path / "größe ℓ"
    np.testing.assert_array_equal(images_in(folder), fields)
    assert not (cache / "mine").exists()
    assert "größe ℓ" in succeed("fetch", source, "--to", folder, "--quiet")


def test_raw_stops_after_the_archive(source, archive, cache, tmp_path):
    assert succeed("fetch", source, "--raw", "--quiet") == f"{cache / 'archives/mine' / ARCHIVE}\n"
    assert (cache / "archives/mine" / ARCHIVE).read_bytes() == archive
    assert not (cache / "mine").exists()
    assert fetch(source, raw=True, to=tmp_path / "raw", progress=False) == tmp_path / "raw" / ARCHIVE
    assert names(tmp_path / "raw") == [ARCHIVE]


def test_an_archive_that_is_kept_is_not_brought_again(source, archive, server, cache, tmp_path):
    folder = fetch(source, keep_archive=True, progress=False)
    assert (cache / "archives/mine" / ARCHIVE).read_bytes() == archive
    shutil.rmtree(folder)
    fetch(source, keep_archive=True, progress=False)
    assert fetch(source, raw=True, progress=False).read_bytes() == archive
    assert len(server.requests) == 1


def test_the_source_may_have_any_name_and_an_sha256(source, archive, cache):
    text = (
        source.read_text()
        .replace("md5", "sha256")
        .replace(hashlib.md5(archive).hexdigest(), hashlib.sha256(archive).hexdigest())
    )
    path = source.with_name("others.toml")
    path.write_text(text)
    assert fetch(path, progress=False) == cache / "others"


@pytest.mark.parametrize("how", ["option", "variable"])
@pytest.mark.parametrize("place", ["web", "web/", "folder"])
def test_a_mirror_is_asked_instead(how, place, source, archive, server, fields, tmp_path, monkeypatch):
    server.files = {f"/some%20mirror/{ARCHIVE}": archive}
    (tmp_path / "mirror ℓ").mkdir()
    (tmp_path / "mirror ℓ" / ARCHIVE).write_bytes(archive)
    mirror = str(tmp_path / "mirror ℓ") if place == "folder" else server.url(f"/some%20{place.replace('web', 'mirror')}")
    if how == "variable":
        monkeypatch.setenv("GPTEX_MIRROR", mirror)
        folder = fetch(source, progress=False)
    else:
        monkeypatch.setenv("GPTEX_MIRROR", "/nowhere")
        folder = fetch(source, mirror=mirror, progress=False)
    np.testing.assert_array_equal(images_in(folder), fields)
    assert [request.path for request in server.requests] == ([] if place == "folder" else [f"/some%20mirror/{ARCHIVE}"])
    assert (tmp_path / "mirror ℓ" / ARCHIVE).read_bytes() == archive


@pytest.mark.parametrize("name", ["golkar-cranmer-2018", "golkar-cranmer-2018-samples"])
def test_what_a_mirror_has_under_a_published_name_must_be_it(name, archive, server, refusal, cache, tmp_path):
    for file in ("dataset.zip", "samples.zip"):
        server.files[f"/{file}"] = archive
    line = refusal(name, mirror=server.url(""), to=tmp_path / "out")
    assert hashlib.md5(archive).hexdigest() in line
    assert len(server.requests) == 1
    assert not (tmp_path / "out").exists()
    line = refusal(name, mirror=str(tmp_path / "nothing"))
    assert "No such file" in line


def test_other_bytes_of_the_same_size_leave_nothing(source, archive, server, refusal, cache):
    server.files[f"/files/{ARCHIVE}"] = archive[:-1] + b"x"
    refusal(source)
    assert [name for name in names(cache) if (cache / name).is_file()] == [".mine.fetch"]


def test_an_archive_of_something_else_is_refused_and_kept_for_another_try(source, archive, server, refusal, tmp_path, cache):
    path = tmp_path / "other.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.txt", "hello")
    data = path.read_bytes()
    path.unlink()
    server.files[f"/files/{ARCHIVE}"] = data
    text = source.read_text().replace(hashlib.md5(archive).hexdigest(), hashlib.md5(data).hexdigest())
    source.write_text(text.replace(str(len(archive)), str(len(data))))
    with pytest.raises(DatasetError, match=r"neither a \.gp file nor samples"):
        fetch(source, progress=False)
    assert not (cache / "mine").exists()


def test_a_folder_that_holds_something_is_refused_before_anything_is_brought(source, server, refusal, tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    (folder / "a.png").touch()
    assert "holds something" in refusal(source, to=folder)
    field = Component(name="field", length_scales=[2])
    other = Recipe(name="other", shape=[32], components=[field], splits={"train": 1})
    generate(other, tmp_path / "other", executor=ThreadPoolExecutor(1), progress=False)
    assert "holds another dataset" in refusal(source, to=tmp_path / "other")
    assert server.requests == []


def test_a_dataset_that_lost_a_shard_is_made_again(source, fields, cache):
    folder = fetch(source, progress=False)
    (folder / "train/00000.h5").unlink()
    fetch(source, progress=False)
    np.testing.assert_array_equal(images_in(folder), fields)
    (folder / "train/00000.h5").unlink()
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(DatasetError, match=r"notes\.txt is no file of a dataset"):
        fetch(source, progress=False)
    assert (folder / "notes.txt").read_text() == "mine"


def test_a_killed_download_goes_on_where_it_was(source, server, fields, cache):
    server.faults[f"/files/{ARCHIVE}"] = [Fault(stall=PART)]
    partial = cache / "archives/mine" / f".{ARCHIVE}.part"
    with started("fetch", source) as run:
        wait_for(lambda: partial.exists() and partial.stat().st_size == PART, run)
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert not (cache / "mine").exists()
    succeed("fetch", source)
    np.testing.assert_array_equal(images_in(cache / "mine"), fields)
    assert server.asked("Range") == [None, f"bytes={PART}-"]
    assert names(cache / "archives") == []


def test_eight_processes_at_once_bring_the_archive_once(source, server, fields, cache):
    command = [COMMAND, "fetch", source, "--quiet"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    answers = [run.communicate(timeout=60) for run in runs]
    assert answers == [(f"{cache / 'mine'}\n", "")] * 8
    np.testing.assert_array_equal(images_in(cache / "mine"), fields)
    assert len(server.requests) == 1
    assert names(cache / "archives") == []


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("golkar-cranmer", "did you mean 'golkar-cranmer-2018'?"),
        ("nothing.toml", "does not exist"),
        (
            "doi:10.5281/zenodo.1252464",
            "is the record of golkar-cranmer-2018 and golkar-cranmer-2018-samples: fetch it by name",
        ),
        ("doi:10.5281", "is not a DOI"),
        ("doi:zenodo.1", "is not a DOI"),
        ("doi:", "is not a DOI"),
    ],
)
def test_names_that_mean_nothing_are_refused(name, says, refusal):
    assert says in refusal(name)


def test_a_cache_that_cannot_be_written_is_named(source, refusal, tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setenv("GPTEX_CACHE", str(tmp_path / "file"))
    assert f"cannot write {tmp_path / 'file'}" in refusal(source)


# The real record


@pytest.mark.network
def test_the_published_dataset_is_what_the_paper_says(tmp_path):
    folder = fetch("golkar-cranmer-2018", to=tmp_path / "out")
    manifest = json.loads((folder / "manifest.json").read_bytes())
    assert manifest["splits"] == {"train": {"textures": 100, "per_class": 25}}
    assert sorted(manifest["classes"]) == sorted(["9.5-80", "10-80", "9.5-140", "10-140"])
    assert manifest["source"]["shape"] == [1024, 1024]
    assert manifest["source"]["dtype"] == "float32"
    assert gptex.verify(folder).passed
