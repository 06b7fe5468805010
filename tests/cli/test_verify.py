"""`gptex verify` and `gptex repair`: bad shards are named, and made again as they were."""

import json
import re
import shlex

import pytest


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-1000])


def flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-5000] ^= 1  # among the images, which come last
    path.write_bytes(data)


@pytest.fixture
def damaged(dataset):
    """A dataset in which every shard is bad in another way."""
    (dataset / "train" / "00000.h5").unlink()
    flip_a_bit(dataset / "train" / "00001.h5")
    cut_short(dataset / "test" / "00000.h5")
    return dataset


def test_a_whole_dataset_is_right(gptex, dataset, contents):
    before = contents(dataset)
    result = gptex("verify", dataset)
    assert (result.returncode, result.stdout) == (0, "3 shards, all right\n")
    assert "\r" not in result.stderr
    assert re.search(r"^verify: 6/6 textures, [\d.]+ textures/s, \d+ MB/s\n\Z", result.stderr, re.MULTILINE)
    assert contents(dataset) == before


def test_quiet_verification_shows_no_progress(gptex, dataset):
    assert gptex("verify", dataset, "--quiet").stderr == ""


def test_each_bad_shard_is_named_with_the_reason_and_exit_code_1(gptex, damaged, contents):
    before = contents(damaged)
    found = gptex("verify", damaged, "--quiet")
    assert found.returncode == 1
    missing, flipped, short, total = found.stdout.splitlines()
    assert missing == "train/00000.h5: is missing"
    assert re.match("train/00001.h5: .*(hash|arrays|bytes)", flipped)
    assert re.match("test/00000.h5: .*cut short", short)
    assert total == "0 of 3 shards are right"
    assert len(found.stderr.splitlines()) == 1
    assert contents(damaged) == before


def test_repair_makes_bad_shards_again_with_the_arrays_they_had(done, damaged):
    def shards():
        listed = json.loads((damaged / "manifest.json").read_text())["shards"]
        return [(shard["file"], shard["first"], shard["count"], shard["arrays_sha256"]) for shard in listed]

    before = shards()
    lines = done("repair", damaged, "--workers", "1").splitlines()
    assert [line.partition(":")[0] for line in lines] == [file for file, *_ in before]
    assert done("verify", damaged, "--quiet") == "3 shards, all right\n"
    assert shards() == before


def test_the_hint_of_verify_is_the_command_that_repairs(gptex, done, dataset):
    (dataset / "test" / "00000.h5").unlink()
    hint = re.search("`(.*)`", gptex("verify", dataset.name, "--quiet").stderr)[1]
    name, *arguments = shlex.split(hint)
    assert name == "gptex"
    done(*arguments)
    assert done("verify", dataset, "--quiet") == "3 shards, all right\n"


def test_a_dataset_without_problems_is_left_as_it_is(done, dataset, contents):
    before = contents(dataset)
    assert done("repair", dataset) == "3 shards, all right; nothing to repair\n"
    assert contents(dataset) == before


def test_a_folder_in_place_of_a_shard_is_named(gptex, dataset):
    path = dataset / "train" / "00001.h5"
    path.unlink()
    path.mkdir()
    result = gptex("verify", dataset, "--quiet")
    assert result.returncode == 1
    assert result.stdout.startswith("train/00001.h5: ")
    assert "Traceback" not in result.stderr


def test_repair_in_a_read_only_folder_is_refused(refused, dataset, obey_permissions):
    cut_short(dataset / "train" / "00001.h5")
    dataset.chmod(0o555)
    assert "ermission denied" in refused("repair", dataset, **obey_permissions)
    dataset.chmod(0o755)
