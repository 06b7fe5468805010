"""`gptex card`: what a dataset is, for people and for machines."""

import json


def test_the_card_is_what_lies_in_the_folder(done, dataset):
    assert done("card", dataset) == (dataset / "README.md").read_text(encoding="utf-8")


def test_it_is_written_where_it_is_said_with_statistics(done, dataset):
    path = dataset / "README.md"
    assert done("card", dataset, "--stats", "--quiet", "-o", path).strip() == str(path)
    text = path.read_text(encoding="utf-8")
    assert "## Statistics" in text
    assert "    passed: " in text
    assert done("verify", dataset, "--quiet") == "3 shards, all right\n"


def test_croissant_is_json_with_the_hashes_of_the_manifest(done, dataset):
    found = json.loads(done("card", dataset, "--format", "croissant"))
    manifest = json.loads((dataset / "manifest.json").read_text(encoding="utf-8"))
    files = {each["@id"]: each["sha256"] for each in found["distribution"] if "sha256" in each}
    assert files == {shard["file"]: shard["sha256"] for shard in manifest["shards"]}


def test_what_makes_no_card_is_refused(refused, dataset):
    assert "does not exist" in refused("card", "missing")
    assert "--limit goes with --stats" in refused("card", dataset, "--limit", 2, code=2)
    refused("card", dataset, "--format", "xml", code=2)
    assert "nowhere" in refused("card", dataset, "-o", "nowhere/card.md")


def test_a_card_never_takes_the_place_of_the_manifest_or_the_recipe(refused, dataset, contents):
    before = contents(dataset)
    for name in ("manifest.json", "recipe.toml"):
        assert "is a file of a dataset" in refused("card", dataset, "--format", "croissant", "-o", dataset / name)
    assert "is a folder" in refused("card", dataset, "-o", dataset)
    assert contents(dataset) == before
