"""`gptex compare`: what it prints and writes, what it refuses, and how it goes on after Ctrl-C."""

import csv
import os
import shlex
import signal
import subprocess
import time

import pytest

from gptex import Component, Recipe

QUICK = ["--model", "tiny", "--batch-size", "4", "--seeds", "1", "--jobs", "1", "--device", "cpu"]


@pytest.fixture
def recipe(tmp_path):
    """The file of a recipe of two classes of 64 x 64 pixels."""
    only = Component(name="only", length_scales=[2, 6])
    made = Recipe(name="two", shape=[64, 64], components=[only], splits={"train": 4, "val": 2, "test": 2})
    (tmp_path / "two.toml").write_text(made.to_toml(), encoding="utf-8")
    return "two.toml"


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--methods", "none,dropout", "--backdrop", "fine=0.5"], "--backdrop are of none of --methods"),
        (["--methods", "none", "--crop", "share=0.5"], "--crop are of none of --methods"),
        (["--search", "2", "--dropblock", "size=2"], "--dropblock are searched for"),
        (["--seeds", "0"], "'--seeds'"),
        (["--search", "-1"], "'--search'"),
        (["--jobs", "0"], "'--jobs'"),
        (["--model", "custom"], "'--model'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_options_that_cannot_be_are_wrong_usage(options, says, refused, recipe, tmp_path):
    assert says in refused("compare", recipe, "--out", "out", *options, code=2)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--methods", "none,backdrp"], "did you mean 'backdrop'"),
        (["--methods", "none,backdrop", "--backdrop", "fine=1.5"], "drop probability"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_what_cannot_be_compared_ends_in_one_line_before_anything_is_written(options, says, refused, recipe, tmp_path):
    assert says in refused("compare", recipe, "--out", "out", *QUICK, *options)
    assert not (tmp_path / "out").exists()


def test_data_without_validation_are_answered_with_the_option(refused, recipe, tmp_path):
    text = (tmp_path / recipe).read_text(encoding="utf-8")
    assert text.count("val = 2\n") == 1
    (tmp_path / recipe).write_text(text.replace("val = 2\n", ""), encoding="utf-8")
    assert "(--val)" in refused("compare", recipe, "--out", "out", *QUICK)


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="groups of processes are POSIX's")
def test_after_ctrl_c_the_command_it_advises_goes_on_to_the_table(command, done, recipe, tmp_path):
    arguments = ["compare", recipe, "--out", "a comparison", "--methods", "none,backdrop", "--epochs", "30", *QUICK]
    arguments += ["--backdrop", "fine=0.5,coarse=0.25"]
    metrics = tmp_path / "a comparison/none/seed-0/metrics.csv"
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background would ignore it
    process = subprocess.Popen(
        [command, *arguments], cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    try:
        deadline = time.monotonic() + 60
        while not metrics.exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGINT)
        stdout, stderr = process.communicate(timeout=20)
    finally:
        signal.signal(signal.SIGINT, before)
        process.kill()
        process.communicate()
    assert process.returncode == 130
    assert stdout == ""
    assert "Traceback" not in stderr
    assert not (tmp_path / "a comparison/backdrop/seed-0/result.json").exists()
    advised = shlex.split(stderr.splitlines()[-1].partition("gptex: stopped; to go on: ")[2])
    assert advised == ["gptex", *arguments]

    table = done(*advised[1:])
    assert table == (tmp_path / "a comparison/table.md").read_text(encoding="utf-8")
    methods = [line.split("|")[1].strip() for line in table.splitlines() if line.startswith("|")]
    assert [name for name in methods if name.strip("-")] == 2 * ["method", "none", "backdrop:fine=0.5,coarse=0.25"]
    found = rows(tmp_path / "a comparison/runs.csv")
    assert [(row["method"], row["parameters"], row["end"]) for row in found] == [
        (method, parameters, end)
        for method, parameters in (("none", ""), ("backdrop", "fine=0.5,coarse=0.25"))
        for end in ("last", "best")
    ]
    assert found[0]["epoch"] == "30"
    assert len(rows(metrics)) == 30
    assert (tmp_path / "a comparison/comparison.png").stat().st_size > 10_000

    quiet = subprocess.run([command, *arguments, "--quiet"], cwd=tmp_path, check=True, capture_output=True, timeout=60)
    assert (quiet.stdout, quiet.stderr) == (b"", b"")
