"""The data card of a folder: what it says is what the manifest says, and Hugging Face can read its front matter."""

import re

import pytest
import yaml

import gptex
from gptex import Component, Recipe
from gptex.store.card import card
from gptex.store.manifest import Manifest, Split
from gptex.store.shard import Shard
from gptex.store.source import Source

AWKWARD = '<script>alert(1)</script> & "x" | `c` [a](http://b) *b* # \\ ℓ'
HUB_SPLIT = re.compile(r"\w+(\.\w+)*")  # datasets.naming._split_re


def front_matter(text):
    """What lies between the first two lines of hyphens."""
    _, matter, body = text.split("---\n", 2)
    assert body.startswith("\n# ")
    return yaml.safe_load(matter)


def of_source(textures=3, shape=(8, 8), **origin):
    """The manifest of textures from elsewhere."""
    source = Source(name=AWKWARD, shape=shape, dtype="float32", class_scales=[[2], [3]], origin=origin)
    split = Split(textures=textures, per_class=(textures - 1, 1))
    shard = {"file": "train/00000.h5", "split": "train", "first": 0, "count": textures, "bytes": 1}
    return Manifest.of_source(source, {"train": split}, [Shard(**shard, sha256="0" * 64, arrays_sha256="1" * 64)])


def test_the_card_of_a_folder_is_written_from_its_manifest(original):
    assert (original / "README.md").read_text(encoding="utf-8") == card(Manifest.read(original))


def test_the_front_matter_names_the_splits_and_where_they_are(original):
    matter = front_matter(card(Manifest.read(original)))
    assert matter["pretty_name"] == "small"
    assert matter["license"] == "unknown"
    assert matter["size_categories"] == ["n<1K"]
    assert matter["task_categories"] == ["image-classification"]
    assert "synthetic" in matter["tags"]
    (config,) = matter["configs"]
    assert config["config_name"] == "default"
    assert config["data_files"] == [{"split": "train", "path": "train/*.h5"}, {"split": "val", "path": "val/*.h5"}]
    for each in config["data_files"]:
        assert list(original.glob(each["path"]))


def test_names_of_splits_are_those_that_the_hub_allows(tmp_path):
    splits = {"test-set": 1, "test_set": 1, "größe": 1, "all": 1}
    recipe = Recipe(name="x", shape=[8, 8], components=[Component(name="f", length_scales=[1])], splits=splits)
    gptex.generate(recipe, tmp_path / "out", workers=1, progress=False)
    files = front_matter((tmp_path / "out/README.md").read_text(encoding="utf-8"))["configs"][0]["data_files"]
    assert [each["path"] for each in files] == ["test-set/*.h5", "test_set/*.h5", "größe/*.h5", "all/*.h5"]
    names = [each["split"] for each in files]
    assert len({*names, "all"}) == 5
    assert all(HUB_SPLIT.fullmatch(name) for name in names)


@pytest.mark.parametrize(
    ("origin", "expected"),
    [
        ({}, {"license": "unknown"}),
        ({"licence": "not stated"}, {"license": "unknown"}),
        ({"licence": "CC-BY-4.0"}, {"license": "cc-by-4.0"}),
        ({"license": "MIT"}, {"license": "mit"}),
        ({"licence": 'ask "us": first\nplease'}, {"license": "other", "license_name": 'ask "us": first\\nplease'}),
    ],
)
def test_a_licence_is_told_as_far_as_it_is_stated(origin, expected):
    matter = front_matter(card(of_source(**origin)))
    assert {key: value for key, value in matter.items() if key.startswith("license")} == expected


@pytest.mark.parametrize(("textures", "words"), [(999, "n<1K"), (1000, "1K<n<10K"), (10**8, "n>100M")])
def test_sizes_are_the_hubs_categories(textures, words):
    assert front_matter(card(of_source(textures)))["size_categories"] == [words]


def test_only_pictures_are_classified_as_pictures():
    assert front_matter(card(of_source(shape=(8,))))["task_categories"] == ["other"]


def test_names_and_facts_of_others_are_no_markup():
    text = card(of_source(citation=AWKWARD, file="two\nlines"))
    assert front_matter(text)["pretty_name"] == AWKWARD
    body = text.split("---\n", 2)[2]
    for markup in ("<script>", "[a]", " | `c`", " *b*"):
        assert not re.search(r"(?<!\\)" + re.escape(markup), body)
    assert "- **file**: two\\\\nlines" in body


def test_a_certificate_is_told_word_for_word_and_is_no_markup(original):
    text = card(Manifest.read(original), "```\n# passed\n\nfine")
    assert "## Statistics\n\n    ```\n    # passed\n\n    fine\n" in text


def test_what_to_cite_is_said_once():
    paper = "Backdrop: Stochastic Backpropagation"
    assert card(of_source()).count(paper) == 1
    told = "A record; Golkar, S. and Cranmer, K. (2018), Backdrop: Stochastic Backpropagation, arXiv:1806.01337"
    assert card(of_source(citation=told)).split("## Licence")[1].count(paper) == 1


def test_versions_of_others_may_lack_gptex():
    manifest = of_source().model_copy(update={"versions": {}})
    assert "gptex of an unknown version" in card(manifest)
