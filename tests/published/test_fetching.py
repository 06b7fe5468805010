"""Fetch: from a web server or a folder to a dataset, whatever breaks on the way; a real server and real processes."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest

import gptex
from gptex import Component, DatasetError, Recipe, fetch, generate, import_legacy

from .server import Fault

COMMAND = Path(sys.executable).with_name("gptex")
ARCHIVE = "data.zip"
CHUNK = 2**14  # bytes; so much is written at a time
PART = 18 * CHUNK
SHARDS = [f"train/{number:05d}.h5" for number in range(6)]


def names(folder):
    """All that lies in a folder, also what is hidden."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def hashes(folder):
    """What lies in a folder, but for locks."""
    files = [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".fetch"]
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def images_in(folder):
    """The images of a dataset in order, by json and h5py."""
    parts = []
    for shard in json.loads((folder / "manifest.json").read_bytes())["shards"]:
        with h5py.File(folder / shard["file"]) as file:
            parts.append(file["images"][()])
    return np.concatenate(parts)


def wait_for(condition, run):
    """Wait until something is so, while a process runs."""
    deadline = time.monotonic() + 60
    while not condition():
        assert run.poll() is None, run.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)


@contextmanager
def started(*arguments):
    """`gptex` with arguments as a process, killed at the end at the latest."""
    with subprocess.Popen([COMMAND, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def succeed(*arguments):
    """Standard output of `gptex` with arguments."""
    done = subprocess.run([COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of this test's own, not there yet."""
    monkeypatch.delenv("GPTEX_MIRROR", raising=False)
    monkeypatch.setenv("GPTEX_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def fields():
    return np.random.default_rng(9).normal(size=(40, 64, 64)).astype("f4")


@pytest.fixture
def archive(fields, tmp_path):
    """Bytes of an archive with one pickle and something else, 0.66 MB."""
    path = tmp_path / "made.zip"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(
            "crosses/GP.gp", pickle.dumps([[[image, n % 2] for n, image in enumerate(fields)], {0: "9.5", 1: "10"}], 3)
        )
        file.writestr("crosses/readme.txt", "hello")
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.fixture
def source(archive, server, tmp_path):
    """The source.toml of that archive on the server, in the folder `mine`."""
    server.files[f"/files/{ARCHIVE}"] = archive
    path = tmp_path / "mine" / "source.toml"
    path.parent.mkdir()
    path.write_text(
        f'title = "Mine"\nurl = "{server.url(f"/files/{ARCHIVE}")}"\nfile = "{ARCHIVE}"\nsize = {len(archive)}\n'
        f'md5 = "{hashlib.md5(archive).hexdigest()}"\nlicence = "CC0"\n'
    )
    return path


@pytest.fixture
def refusal(tmp_path):
    """The one line in which something is not fetched; what lies in the test's folder stays as it is, but for the cache."""

    def visible():
        return {name: each for name, each in hashes(tmp_path).items() if not name.startswith("cache/.")}

    def run(name, **options):
        before = visible()
        with pytest.raises(DatasetError) as error:
            fetch(name, progress=False, **options)
        assert "\n" not in str(error.value)
        assert visible() == before
        return str(error.value)

    return run


# Archives


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


# gptex datasets


@pytest.fixture(params=["generated", "sourced"])
def dataset(request, fields, tmp_path):
    """A dataset of six shards, in a folder that is not on the server."""
    folder = tmp_path / "original" / request.param
    folder.parent.mkdir()
    if request.param == "generated":
        field = Component(name="field", length_scales=[3, 4])
        recipe = Recipe(name="small", shape=[64, 64], components=[field], splits={"train": 20})
        generate(recipe, folder, executor=ThreadPoolExecutor(1), shard_size=7 * 64 * 64 * 4, progress=False)
    else:
        path = tmp_path / "made.gp"
        path.write_bytes(pickle.dumps([[[image, n % 2] for n, image in enumerate(fields)], {0: "9.5", 1: "10"}]))
        import_legacy(path, folder, shard_size=7 * 64 * 64 * 4, progress=False)
        path.unlink()
    assert [shard["file"] for shard in json.loads((folder / "manifest.json").read_bytes())["shards"]] == SHARDS
    return folder


@pytest.fixture
def serve(server):
    """Puts a folder on the server, as /some%20path/textures/."""

    def run(folder, prefix="/some%20path/textures"):
        server.files = {f"{prefix}/{name}": (folder / name).read_bytes() for name in hashes(folder)}
        return server.url(prefix)

    return run


@pytest.fixture
def address(dataset, serve):
    return serve(dataset) + "/"


def url_path(file):
    return f"/some%20path/textures/{file}"


def expected_files(dataset):
    """What a fetched dataset consists of."""
    own = {"README.md", "manifest.json", *SHARDS}
    return own | ({"recipe.toml"} if (dataset / "recipe.toml").exists() else set())


def assert_fetched(folder, dataset):
    """Whether the folder holds the dataset, all of it and nothing else."""
    found, original = hashes(folder), hashes(dataset)
    assert set(found) == expected_files(dataset)
    assert all(found[name] == original[name] for name in ["manifest.json", *SHARDS])
    assert gptex.verify(folder).passed


def test_a_dataset_comes_manifest_first_and_is_as_it_was(address, dataset, server, cache):
    folder = fetch(address, progress=False)
    assert folder.parent == cache
    assert folder.name.startswith("textures-")
    assert_fetched(folder, dataset)
    paths = [request.path for request in server.requests]
    assert paths[0] == url_path("manifest.json")
    assert sorted(paths[1:]) == [url_path(file) for file in SHARDS]


@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
def test_a_second_run_asks_for_the_manifest_alone_and_says_the_same(address, server, tmp_path):
    first = succeed("fetch", address, "--to", tmp_path / "out")
    before, count = hashes(tmp_path), len(server.requests)
    assert "40 textures of 64 x 64 float32" in first
    assert succeed("fetch", address, "--to", tmp_path / "out") == first
    assert [request.path for request in server.requests[count:]] == [url_path("manifest.json")]
    assert hashes(tmp_path) == before


@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
def test_an_address_is_the_same_with_its_slash_without_and_with_the_manifest(address, server, dataset, cache):
    folder = fetch(address.rstrip("/"), progress=False)
    count = len(server.requests)
    assert fetch(address, progress=False) == folder
    assert fetch(address + "manifest.json", progress=False) == folder
    assert len(server.requests) == count + 2
    assert_fetched(folder, dataset)
    assert [path for path in cache.iterdir() if path.is_dir()] == [folder]


@pytest.mark.parametrize("dataset", ["generated"], indirect=True)
def test_a_fetched_dataset_of_a_recipe_can_be_extended(address, dataset, tmp_path):
    folder = fetch(address, to=tmp_path / "out", progress=False)
    more = Recipe.read(dataset / "recipe.toml").replace(splits={"train": 21})
    assert generate(more, folder, executor=ThreadPoolExecutor(1), progress=False).textures == 42


def test_a_shard_with_other_bytes_is_refused_and_nothing_is_under_the_name(address, server, tmp_path):
    file = server.files[url_path(SHARDS[3])]
    server.files[url_path(SHARDS[3])] = file[:-1] + bytes([file[-1] ^ 1])
    with pytest.raises(DatasetError, match=re.escape(SHARDS[3])):
        fetch(address, to=tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()
    assert f"train/.{Path(SHARDS[3]).name}.part" not in names(tmp_path / ".out.part")
    assert SHARDS[3] not in names(tmp_path / ".out.part")


def test_a_killed_run_is_completed_without_bringing_good_shards_again(address, dataset, server, tmp_path):
    server.faults[url_path(SHARDS[2])] = [Fault(stall=2 * CHUNK)]
    part, out = tmp_path / ".out.part", tmp_path / "out"
    good = [SHARDS[n] for n in (0, 1, 3, 4, 5)]
    partial = part / "train/.00002.h5.part"
    with started("fetch", address, "--to", out) as run:
        wait_for(lambda: all((part / file).exists() for file in good) and partial.stat().st_size == 2 * CHUNK, run)
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert not out.exists()
    succeed("fetch", address, "--to", out)
    assert_fetched(out, dataset)
    counts = Counter(request.path for request in server.requests)
    assert all(counts[url_path(file)] == 1 for file in good)
    assert [request.headers.get("Range") for request in server.requests if request.path == url_path(SHARDS[2])] == [
        None,
        f"bytes={2 * CHUNK}-",
    ]
    assert sorted(os.listdir(tmp_path)) == ["cache", "original", "out"]


@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
def test_a_run_that_is_interrupted_while_a_server_is_silent_ends_at_once(address, server, tmp_path):
    server.faults[url_path(SHARDS[2])] = [Fault(stall=2 * CHUNK)]
    with started("fetch", address, "--to", tmp_path / "out") as run:
        wait_for((tmp_path / ".out.part/train/00005.h5").exists, run)
        run.send_signal(signal.SIGINT)
        _, said = run.communicate(timeout=10)
    assert run.returncode == 130
    assert "stopped; to go on: gptex fetch" in said
    assert "Traceback" not in said


@pytest.mark.parametrize("lost", ["missing", "cut"])
def test_a_shard_that_is_lost_later_is_brought_again_alone(lost, address, dataset, server, tmp_path):
    out = fetch(address, to=tmp_path / "out", progress=False)
    count = len(server.requests)
    if lost == "missing":
        (out / SHARDS[4]).unlink()
    else:
        (out / SHARDS[4]).write_bytes(b"x")
    (out / "notes.txt").write_text("mine")
    fetch(address, to=out, progress=False)
    assert [request.path for request in server.requests[count:]] == [url_path("manifest.json"), url_path(SHARDS[4])]
    assert (out / "notes.txt").read_text() == "mine"
    (out / "notes.txt").unlink()
    assert_fetched(out, dataset)


@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
def test_a_dataset_that_changed_does_not_replace_the_old_one(address, dataset, serve, refusal, tmp_path):
    out = fetch(address, to=tmp_path / "out", progress=False)
    (dataset / "manifest.json").write_text((dataset / "manifest.json").read_text() + "\n")
    serve(dataset)
    assert "another version" in refusal(address, to=out)


def test_a_dataset_that_changed_after_a_stop_is_brought_as_it_is_now(address, dataset, fields, server, serve, tmp_path):
    server.files.pop(url_path(SHARDS[5]))
    with pytest.raises(DatasetError, match="404"):
        fetch(address, to=tmp_path / "out", progress=False)
    path = tmp_path / "new.gp"
    path.write_bytes(pickle.dumps([[[image, n % 2] for n, image in enumerate(fields[:9])], {0: "9.5", 1: "10"}]))
    import_legacy(path, tmp_path / "new", shard_size=7 * 64 * 64 * 4, progress=False)
    serve(tmp_path / "new")
    out = fetch(address, to=tmp_path / "out", progress=False)
    np.testing.assert_array_equal(images_in(out), fields[:9])
    assert names(out) == names(tmp_path / "new")


@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
def test_eight_processes_at_once_bring_each_shard_once(address, dataset, server, cache):
    command = [COMMAND, "fetch", address, "--quiet"]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(8)]
    answers = {run.communicate(timeout=60) for run in runs}
    ((folder, said),) = answers
    assert said == ""
    assert_fetched(Path(folder.strip()), dataset)
    counts = Counter(request.path for request in server.requests)
    assert counts == {url_path("manifest.json"): 8} | {url_path(file): 1 for file in SHARDS}


def changed(**keys):
    return lambda manifest: {**manifest, **keys}


def with_file(file):
    def change(manifest):
        manifest["shards"][1]["file"] = file
        return manifest

    return change


@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
@pytest.mark.parametrize(
    ("change", "says"),
    [
        (changed(format=2), "format 2, this gptex reads up to 1: upgrade gptex"),
        (changed(format=0), "is not a gptex manifest"),
        (changed(source=None), "neither recipe nor source"),
        (changed(shards=[]), "damaged"),
        (lambda manifest: [manifest], "is not a gptex manifest"),
        (with_file("../evil.h5"), "is damaged: shards.1.file"),
        (with_file("../../00000.h5"), "is damaged: shards.1.file"),
        (with_file("/etc/00000.h5"), "is damaged: shards.1.file"),
        (with_file("../00000.h5"), "is damaged: shards.1.file"),
        (with_file("train/../../00000.h5"), "is damaged: shards.1.file"),
        (with_file("train\\00001.h5"), "is damaged: shards.1.file"),
        (with_file("val/00001.h5"), "is not in the folder of split"),
    ],
)
def test_a_manifest_that_is_not_to_be_followed_is_refused_before_a_shard(change, says, address, server, refusal, tmp_path):
    manifest = json.loads(server.files[url_path("manifest.json")])
    server.files[url_path("manifest.json")] = json.dumps(change(manifest)).encode()
    line = refusal(address, to=tmp_path / "deep" / "er" / "out")
    assert says in line
    assert f"{server.url('/some%20path/textures/manifest.json')}" in line
    assert len(server.requests) == 1
    assert not (tmp_path / "deep").exists()


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Fault(body=b"<!DOCTYPE html>", headers={"Content-Type": "text/html"}), "is a web page, not the file"),
        (Fault(body=b"<!DOCTYPE html>"), "is not JSON"),
        (Fault(status=404), "404"),
    ],
)
def test_what_is_no_manifest_is_refused(fault, says, server, refusal, tmp_path):
    server.faults["/x/manifest.json"] = [fault]
    server.files["/x/manifest.json"] = b""
    assert says in refusal(server.url("/x/"), to=tmp_path / "out")


def test_a_dataset_is_nothing_raw(server, refusal):
    assert "nothing raw" in refusal(server.url("/x/"), raw=True)


@pytest.mark.parametrize("place", ["folder", "web"])
@pytest.mark.parametrize("dataset", ["sourced"], indirect=True)
def test_a_doi_is_looked_for_in_a_folder_of_the_mirror(place, dataset, server, tmp_path):
    doi = "10.5281/zenodo.999"
    server.files = {f"/mirror/{doi}/{name}": (dataset / name).read_bytes() for name in hashes(dataset)}
    shutil.copytree(dataset, tmp_path / "mirror" / doi)
    mirror = server.url("/mirror") if place == "web" else str(tmp_path / "mirror")
    folder = fetch(f"doi:{doi}", mirror=mirror, progress=False)
    assert folder.name.startswith("zenodo.999-")
    assert_fetched(folder, dataset)


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
