"""From a gptex dataset on the web to a folder, whatever breaks on the way."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import signal
import subprocess
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

import gptex
from gptex import DatasetError, Recipe, fetch, generate, import_legacy

from ..server import Fault
from .runs import CHUNK, COMMAND, SHARDS, hashes, images_in, names, started, succeed, wait_for


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
