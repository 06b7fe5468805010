"""`gptex generate`: what it writes, what it says while it does, and how it goes on after an interruption."""

import glob
import json
import os
import re
import shlex
import signal
import subprocess
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptex import Component, Recipe

RATES = r"\d+(\.\d+)? textures/s, \d+ MB/s"


def arrays_sha256(folder):
    """Hash of the arrays of each shard, as the manifest has it."""
    return {shard["file"]: shard["arrays_sha256"] for shard in json.loads((folder / "manifest.json").read_text())["shards"]}


def shards(folder):
    """Whole shards in a folder, finished or not."""
    pattern = f"{glob.escape(str(folder))}/*/[0-9]*.h5"  # unlike Path.glob, glob bears folders that vanish meanwhile
    return sorted(map(Path, glob.glob(pattern)))


def identities(folder):
    """Of each shard, what changes when it is written again."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in shards(folder)}


def on_a_terminal(command, *arguments, cwd):
    """Exit code of the command, and what it writes to a terminal of 100 columns."""
    pty, termios = pytest.importorskip("pty"), pytest.importorskip("termios")
    mine, its = pty.openpty()
    termios.tcsetwinsize(its, (40, 100))
    process = subprocess.Popen([command, *arguments], cwd=cwd, stdin=its, stdout=its, stderr=its)
    os.close(its)
    seen = b""
    while True:
        try:
            some = os.read(mine, 4096)
        except OSError:  # the other end is closed
            some = b""
        if not some:
            os.close(mine)
            return process.wait(timeout=60), seen.decode()
        seen += some


# -- what is written


def test_the_shards_hold_the_textures_of_the_recipe(original):
    recipe = Recipe.read(original / "recipe.toml")
    assert recipe.classes == ("2-8", "3-8")
    assert recipe.splits == {"train": 2, "test": 1}
    assert {path.name for path in original.iterdir()} == {"manifest.json", "recipe.toml", "README.md", "train", "test"}
    for split, count in (("train", 4), ("test", 2)):
        index = 0
        for shard in sorted((original / split).iterdir()):
            with h5py.File(shard) as file:
                for image, label in zip(file["images"], file["labels"], strict=True):
                    texture = recipe.texture(split, index)
                    np.testing.assert_array_equal(image, texture.image)
                    assert label == texture.label
                    index += 1
        assert index == count


def test_the_summary_says_how_much_there_is_and_where(done, small):
    assert done("generate", "out", *small()).startswith("out: 6 textures, 2 classes, 3 shards, ")


def test_options_make_the_recipe_they_say(done, tmp_path):
    arguments = "--size 24x32 --scales 2,3 --scales 4 --scales 1.5 --weights 0.75,1.25,-1"
    arguments += " --kernel matern --kernel rational-quadratic --kernel exponential --nu 2.5 --alpha 3"
    arguments += " --boundary periodic --boundary periodic --boundary open --standardize --noise-std 0.125"
    arguments += f" --per-class 1 --seed {2**128 - 1} --dtype float16 --workers 1"
    done("generate", "out", *arguments.split())
    written = Recipe.read(tmp_path / "out" / "recipe.toml")
    parts = [
        {"length_scales": [2, 3], "weight": 0.75, "kernel": "matern", "nu": 2.5},
        {"length_scales": [4], "weight": 1.25, "kernel": "rational-quadratic", "alpha": 3},
        {"length_scales": [1.5], "weight": -1, "kernel": "exponential", "boundary": "open"},
    ]
    names = [component.name for component in written.components]
    components = [Component(name=name, **part) for name, part in zip(names, parts, strict=True)]
    assert written == Recipe(
        name=written.name,
        shape=[24, 32],
        seed=2**128 - 1,
        dtype="float16",
        standardize=True,
        noise_std=0.125,
        components=components,
        splits={"train": 1},
    )


def test_a_recipes_file_is_taken_as_it_is_but_for_the_options_given(done, tmp_path):
    part = {"name": "só", "length_scales": [3], "kernel": "spectrum", "spectrum": [[0, 0], [1, 1], [2, 0]]}
    recipe = Recipe(name="mine", shape=[48], seed=5, components=[part], splits={"train": 3, "val": 2}, noise_std=0.5)
    (tmp_path / "my recipe.toml").write_text(recipe.to_toml(), encoding="utf-8")
    done("generate", "as it is", "--recipe", "my recipe.toml", "--workers", "1")
    assert Recipe.read(tmp_path / "as it is" / "recipe.toml") == recipe
    done("generate", "changed", "--recipe", "my recipe.toml", "--seed", "6", "--split", "val=1", "--noise-std", "0")
    assert Recipe.read(tmp_path / "changed" / "recipe.toml") == recipe.replace(seed=6, splits={"val": 1}, noise_std=0)


def test_workers_shard_sizes_and_compression_change_no_texture(done, small, original, tmp_path):
    done("generate", "out", *small(), "--workers", "2", "--shard-size", "16KiB", "--compression", "gzip")
    images = []
    for folder, count in ((original, 2), (tmp_path / "out", 4)):
        files = sorted((folder / "train").iterdir())
        assert len(files) == count
        images.append(np.concatenate([h5py.File(file)["images"][()] for file in files]))
    np.testing.assert_array_equal(*images)


# -- again, more, anew


def test_the_same_command_again_writes_no_shard_anew(done, gptex, small, dataset):
    before = identities(dataset)
    again = gptex("generate", dataset, *small())
    assert again.returncode == 0
    assert again.stderr == ""  # no progress: there is nothing to do
    assert identities(dataset) == before


def test_larger_counts_and_new_splits_extend_a_dataset(done, small, dataset):
    before = identities(dataset)
    hashes = arrays_sha256(dataset)
    out = done("generate", dataset, *small(train=3, val=1))
    assert ": 10 textures" in out
    assert before.items() <= identities(dataset).items()
    assert hashes.items() <= arrays_sha256(dataset).items()
    assert done("verify", dataset).strip() == "5 shards, all right"


def test_overwrite_replaces_a_dataset_of_another_recipe_and_leaves_other_files(done, small, dataset):
    (dataset / "notes.txt").write_text("mine")
    done("generate", dataset, *small(), "--seed", "8", "--overwrite")
    assert Recipe.read(dataset / "recipe.toml").seed == 8
    assert done("verify", dataset).strip() == "3 shards, all right"
    assert (dataset / "notes.txt").read_text() == "mine"


# -- what it says


def test_progress_in_a_log_is_lines_with_rates_and_no_carriage_returns(gptex, small):
    result = gptex("generate", "out", *small())
    assert "\r" not in result.stderr
    assert re.fullmatch(rf"(generate: \d/6 textures, {RATES}\n)*generate: 6/6 textures, {RATES}\n", result.stderr)


def test_progress_on_a_terminal_is_a_bar_with_rates(command, small, tmp_path):
    code, seen = on_a_terminal(command, "generate", "out", *small(), cwd=tmp_path)
    assert code == 0
    last = [line for line in seen.replace("\n", "\r").split("\r") if line.startswith("generate:")][-1]
    assert "100%|" in last
    assert "6/6 [" in last
    assert re.search(r"\d textures/s", last)
    assert "MB/s" in last
    assert re.search("^out: 6 textures", seen, re.MULTILINE)


def test_quiet_prints_nothing_not_even_on_a_terminal(command, small, tmp_path):
    assert on_a_terminal(command, "generate", "out", *small(), "--quiet", cwd=tmp_path) == (0, "")


# -- interruption

LONG = ["--size", "256", "--scales", "2,3", "--per-class", "60", "--shard-size", "256KiB"]  # 120 shards of one texture


def interrupted(command, how, *arguments, cwd):
    """Starts a run and signals its process group, as a terminal does, after three more shards; exit code and last line."""
    out = cwd / arguments[1]
    already = len(shards(out))
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
    process = subprocess.Popen([command, *arguments], cwd=cwd, stderr=subprocess.PIPE, text=True, start_new_session=True)
    try:
        while len(shards(out)) < already + 3:
            assert process.poll() is None
            time.sleep(0.005)
        os.killpg(process.pid, how)
        _, stderr = process.communicate(timeout=20)
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
        process.communicate()
    assert "Traceback" not in stderr
    return process.returncode, stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("how", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_says_how_to_go_on_and_that_command_does(how, code, command, done, tmp_path):
    """Also after a second interruption; only the shards that were missing are written."""
    out = tmp_path / "long run"
    for _ in range(2):
        got, line = interrupted(command, how, "generate", "long run", *LONG, cwd=tmp_path)
        assert got == code
        assert not (out / "manifest.json").exists()
        assert not list(out.rglob("*.part"))
    before = identities(out)
    assert 6 <= len(before) < 120
    name, *arguments = shlex.split(line.partition("to go on: ")[2])
    assert name == "gptex"
    done(*arguments)
    assert before.items() <= identities(out).items()
    done("generate", "at once", *LONG)
    assert arrays_sha256(out) == arrays_sha256(tmp_path / "at once")


@pytest.mark.slow
def test_going_on_after_an_interrupted_overwrite_does_not_overwrite_again(command, done, dataset, tmp_path):
    code, line = interrupted(command, signal.SIGINT, "generate", dataset.name, *LONG, "--overwrite", cwd=tmp_path)
    assert code == 130
    before = identities(dataset)
    assert len(before) >= 3
    done(*shlex.split(line.partition("to go on: ")[2])[1:])
    assert before.items() <= identities(dataset).items()
