"""Archives and datasets on the server, and a cache for each test."""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from gptex import Component, DatasetError, Recipe, fetch, generate, import_legacy

from .runs import ARCHIVE, SHARDS, hashes


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
