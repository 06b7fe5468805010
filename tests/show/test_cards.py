"""Croissant: the real validator takes the card, and its hashes and fields are the manifest's."""

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import h5py
import pytest

import gptex
from gptex import Component, GptexError, Recipe
from gptex.show import card
from gptex.trust import certificate as certificates  # a class called Check would be taken for one

VALIDATOR = Path(sys.executable).with_name("mlcroissant")
AWKWARD = '<b>"fünf"</b> & \\ {x}'


@pytest.fixture(scope="module", params=["recipe", "source", "volume"])
def folder(request, tmp_path_factory):
    """A dataset of two classes, drawn or combined."""
    here = tmp_path_factory.mktemp("datasets")
    shape = [6, 8, 10] if request.param == "volume" else [16, 24]
    fine = Component(name=AWKWARD, length_scales=[1.5, 2])
    recipe = Recipe(name=AWKWARD, shape=shape, components=[fine], splits={"train": 6, "test-set": 2})
    gptex.generate(recipe, here / "drawn", workers=1, shard_size=5 * recipe.texture_bytes, progress=False)
    if request.param != "source":
        return here / "drawn"
    gptex.combine(here / "drawn", here / "combined", scales=[[1.5, 2]], split="train", progress=False)
    return here / "combined"


def validate(path):
    return subprocess.run([VALIDATOR, "validate", "--jsonld", path], capture_output=True, text=True, check=False, timeout=120)


needs_validator = pytest.mark.skipif(not VALIDATOR.exists(), reason="mlcroissant is not installed")


@needs_validator
def test_the_validator_takes_the_card(folder, tmp_path):
    path = tmp_path / "croissant.json"
    path.write_text(card(folder, form="croissant"), encoding="utf-8")
    done = validate(path)
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stderr.lower()
    assert "not standard" not in done.stderr  # the context is the specification's


@needs_validator
def test_the_validator_would_find_a_fault(folder, tmp_path):
    wrong = json.loads(card(folder, form="croissant"))
    wrong["recordSet"][2]["field"][0]["source"]["fileSet"]["@id"] = "nowhere"
    (tmp_path / "croissant.json").write_text(json.dumps(wrong), encoding="utf-8")
    assert validate(tmp_path / "croissant.json").returncode != 0


RECORDS = """
import json, sys, mlcroissant
dataset = mlcroissant.Dataset(sys.argv[1])
print(json.dumps([list(dataset.records(name)) for name in ("splits", "classes")]))
"""


@needs_validator
def test_splits_and_classes_are_read_from_it(folder, tmp_path):
    path = tmp_path / "croissant.json"
    path.write_text(card(folder, form="croissant"), encoding="utf-8")
    done = subprocess.run([sys.executable, "-c", RECORDS, path], capture_output=True, text=True, check=True, timeout=120)
    splits, classes = json.loads(done.stdout)
    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    assert [each["splits/name"] for each in splits] == list(manifest["splits"])
    assert [each["classes/name"] for each in classes] == manifest["classes"] == ["1.5", "2"]
    assert [each["classes/label"] for each in classes] == [0, 1]
    assert [each["classes/length_scales"] for each in classes] == [[1.5], [2.0]]


def test_files_are_those_of_the_folder_with_their_hashes(folder):
    files = [each for each in json.loads(card(folder, form="croissant"))["distribution"] if each["@type"] == "cr:FileObject"]
    assert {each["contentUrl"] for each in files} == {path.relative_to(folder).as_posix() for path in folder.glob("*/*.h5")}
    for each in files:
        data = (folder / each["contentUrl"]).read_bytes()
        assert each["sha256"] == hashlib.sha256(data).hexdigest()
        assert each["contentSize"] == f"{len(data)} B"


def test_fields_are_the_arrays_of_a_shard(folder):
    textures = json.loads(card(folder, form="croissant"))["recordSet"][2]
    fields = {each["name"]: each for each in textures["field"] if "column" in each["source"]["extract"]}
    with h5py.File(next(folder.glob("*/*.h5"))) as shard:
        assert set(fields) == set(shard)
        for name, array in shard.items():
            assert fields[name]["source"]["extract"]["column"] == name
            assert fields[name]["dataType"].lower() == f"cr:{array.dtype}"
            assert fields[name].get("arrayShape", "") == ",".join(map(str, array.shape[1:]))


def test_a_certificate_is_told_in_both_forms(folder):
    certificate = certificates.Certificate(AWKWARD, 3, 1e-3, [certificates.Check("band", "power", 2.0, 1.0, 0.1, 1e-9)], [])
    verdict = str(certificate).splitlines()[-1]
    assert verdict in card(folder, certificate=certificate)
    assert verdict in json.loads(card(folder, form="croissant", certificate=certificate))["description"]


def test_markdown_is_what_lies_in_the_folder(folder):
    assert card(folder) == (folder / "README.md").read_text(encoding="utf-8")


def test_another_form_is_refused(folder):
    with pytest.raises(GptexError, match="did you mean 'croissant'"):
        card(folder, form="croisant")
