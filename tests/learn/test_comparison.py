"""Comparisons: their tables beside the runs' own files, the search, seeds in pairs, and going on after any end."""

import csv
import json
import math
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from fractions import Fraction

import numpy as np
import pytest
from matplotlib import image
from scipy import stats

from gptex import Component, GptexError, Recipe, RecipeDataset
from gptex.learn import Config, Regularizer, compare, train
from gptex.learn.training import DivergedError

OPTIONS = {"model": "tiny", "epochs": 8, "batch_size": 4, "device": "cpu", "progress": False}
RUNS = [(method, seed) for method in ("none", "backdrop") for seed in range(2)]


@pytest.fixture(scope="module")
def easy():
    """Four classes of 64 x 64 pixels; 16 textures to train on, 12 to validate on, 16 for the test."""
    fine, coarse = Component(name="fine", length_scales=[1, 3]), Component(name="coarse", length_scales=[6, 12])
    return Recipe(name="easy", shape=[64, 64], components=[fine, coarse], splits={"train": 4, "val": 3, "test": 4}, seed=3)


@pytest.fixture(scope="module")
def compared(easy, tmp_path_factory):
    """Two methods from two seeds, after a search of two settings for each; not to be changed."""
    folder = tmp_path_factory.mktemp("comparison")
    return compare(easy, folder, ["none", "backdrop"], 2, search=2, jobs=2, **OPTIONS)


def read(path):
    return json.loads(path.read_bytes())


def rows(path):
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def config(path):
    return read(path / "config.json")["config"]


def results(folder):
    """What result.json of each run holds, by method and seed."""
    return {(method, seed): read(folder / method / f"seed-{seed}" / "result.json") for method, seed in RUNS}


def accuracy(metrics):
    """Of a run's metrics the best row: of the highest accuracy on validation data, of those of the least loss."""
    return sorted((-float(row["val_accuracy"]), float(row["val_loss"]), int(row["epoch"])) for row in metrics)[0]


def changes(folder):
    """What changes when a file of a run is written again."""
    return {path: path.stat().st_mtime_ns for path in folder.glob("*/*/*")}


def numbers(folder):
    """All numbers of the runs below a folder, but for the time they took."""
    metrics = {
        str(path.relative_to(folder)): [{key: row[key] for key in row if key != "seconds"} for row in rows(path)]
        for path in folder.rglob("metrics.csv")
    }
    return metrics, {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("result.json")}


# -- what is written


def test_a_row_for_each_run_and_end_says_what_its_result_says(compared):
    found, wanted = rows(compared.folder / "runs.csv"), []
    for (method, seed), result in results(compared.folder).items():
        best = accuracy(rows(compared.folder / method / f"seed-{seed}" / "metrics.csv"))[2]
        wanted += [(method, seed, end, epoch, result[end]) for end, epoch in (("last", 8), ("best", best))]
    assert len(found) == len(wanted) == 8
    for row, (method, seed, end, epoch, score) in zip(found, wanted, strict=True):
        assert (row["method"], int(row["seed"]), row["end"], int(row["epoch"])) == (method, seed, end, epoch)
        assert float(row["accuracy"]) == score["accuracy"]
        assert float(row["loss"]) == score["loss"]
        assert {name: float(row[f"accuracy_{name}"]) for name in ("fine", "coarse")} == score["components"]
        trained = config(compared.folder / method / f"seed-{seed}")
        assert float(row["lr"]) == trained["lr"]
        assert Regularizer.parse(f"{method}:{row['parameters']}").parameters == trained["regularizer"]["parameters"]
    assert len({row["accuracy"] for row in found}) > 2  # else much here could not fail
    assert any(row["epoch"] != "8" for row in found)


def shown(values):
    """A mean and its interval by scipy, as people write them."""
    half = stats.t.ppf(0.975, len(values) - 1) * stats.sem(values)
    return f"{np.mean(values):.3f} ± {half:.3f}"


def tables(text):
    """The rows of each table in a text, as dicts; the first at the last epoch, the second at the best one."""
    found = []
    for block in re.findall(r"(?:^\|.*\|\n)+", text, re.MULTILINE):
        header, rule, *lines = [[cell.strip() for cell in line[1:-1].split("|")] for line in block.splitlines()]
        assert all(set(cell) == {"-"} for cell in rule)
        found.append([dict(zip(header, line, strict=True)) for line in lines])
    return dict(zip(("last", "best"), found, strict=True))


def test_the_table_has_means_over_seeds_and_differences_in_pairs(compared):
    text = (compared.folder / "table.md").read_text(encoding="utf-8")
    assert text == f"{compared}\n"
    assert "2 seeds" in text
    found, mixed = results(compared.folder), []
    for end, table in tables(text).items():
        for method, row in zip(("none", "backdrop"), table, strict=True):
            scores = [[found[each, seed][end] for seed in range(2)] for each in (method, "none")]
            mine, first = ([score["accuracy"] for score in each] for each in scores)
            trained = config(compared.folder / method / "seed-0")
            assert row["method"].partition(":")[0] == method
            assert Regularizer.parse(row["method"]).parameters == trained["regularizer"]["parameters"]
            assert float(row["lr"]) == trained["lr"]
            assert row["accuracy"] == shown(mine)
            assert row["loss"] == shown([score["loss"] for score in scores[0]])
            for name in ("fine", "coarse"):
                assert row[name] == shown([score["components"][name] for score in scores[0]])
            if method != "none":
                assert row["minus none's"] == shown([a - b for a, b in zip(mine, first, strict=True)])
                mixed.append(row["minus none's"] != shown([mine[0] - first[1], mine[1] - first[0]]))
            else:
                assert row["minus none's"] == ""
    assert any(mixed)  # other pairs would have been seen
    assert text.index("last epoch") < text.index("best epoch")
    assert re.search(r"^reference: easy: .*accuracy 0\.\d+", text, re.MULTILINE)


def test_the_picture_is_one_and_has_the_colours_of_both_methods(compared):
    pixels = (image.imread(compared.folder / "comparison.png")[..., :3] * 255).round().astype(int)
    assert min(pixels.shape[:2]) > 300
    for colour in ((31, 119, 180), (255, 127, 14)):  # matplotlib's first two
        assert (pixels == colour).all(-1).sum() > 50
    assert not (pixels == (44, 160, 44)).all(-1).any()  # its third


def test_all_runs_are_alike_but_for_what_is_compared(compared):
    configs = {run: config(compared.folder / run[0] / f"seed-{run[1]}") for run in RUNS}
    assert {run: each["seed"] for run, each in configs.items()} == {run: run[1] for run in RUNS}
    for each in configs.values():
        assert (each["epochs"], each["batch_size"], each["model"], each["train"]) == (8, 4, "tiny", "train")
    for key in configs["none", 0]:
        if key not in ("regularizer", "lr", "seed"):
            assert len({str(each[key]) for each in configs.values()}) == 1
    assert {config(path)["seed"] for path in (compared.folder / "search").iterdir()} != {0, 1}
    assert not {config(path)["seed"] for path in (compared.folder / "search").iterdir()} & {0, 1}


# -- the search


def radical_inverse(number, base):
    """The digits of a number mirrored at the point: Halton's sequence."""
    found, place = Fraction(0), Fraction(1, base)
    while number:
        number, digit = divmod(number, base)
        found, place = found + digit * place, place / base
    return float(found)


def halton(number, ranges):
    """The learning rate and the parameters of a trial, counted from 0: the point after the first, which is a corner."""
    place, *others = (radical_inverse(number + 1, base) for base in (2, 3, 5, 7)[: 1 + len(ranges)])
    lr = float(f"{3e-4 * 10**place:.2g}")
    return lr, [low + share * (high - low) for share, (low, high) in zip(others, ranges, strict=True)]


def test_a_search_tries_the_points_of_halton(compared):
    for number in range(2):
        none, backdrop = (config(compared.folder / "search" / f"{method}-{number}") for method in ("none", "backdrop"))
        lr, parameters = halton(number, [(0, 0.95), (0, 0.95)])
        assert none["lr"] == backdrop["lr"] == lr
        assert none["regularizer"]["parameters"] == {}
        assert list(backdrop["regularizer"]["parameters"].values()) == pytest.approx(parameters, abs=5.1e-4)
    assert not (compared.folder / "search" / "none-2").exists()


def test_the_best_setting_on_validation_data_is_taken(compared):
    differ = []
    for method in ("none", "backdrop"):
        trials = [compared.folder / "search" / f"{method}-{number}" for number in range(2)]
        merits = [accuracy(rows(path / "metrics.csv"))[:2] for path in trials]
        best = config(trials[merits.index(min(merits))])
        for seed in range(2):
            taken = config(compared.folder / method / f"seed-{seed}")
            assert (taken["lr"], taken["regularizer"]) == (best["lr"], best["regularizer"])
        differ.append(merits[0] != merits[1])
    assert all(differ)


@pytest.mark.slow
def test_every_method_is_searched_in_its_ranges_and_crops_leave_the_net_room(easy, tmp_path):
    """A net that needs 64 pixels sees crops of 64/96 of an image of 96 x 128 pixels at least."""
    wide = easy.replace(shape=[96, 128], splits={"train": 1, "val": 1, "test": 1})
    methods = ["none", "backdrop", "dropout", "dropblock", "crop:share=0.7"]
    found = compare(wide, tmp_path / "all", methods, 1, search=2, jobs=1, **{**OPTIONS, "epochs": 1})
    ranges = {
        "backdrop": [(0, 0.95), (0, 0.95)],
        "dropout": [(0, 0.6), (0, 0.6)],
        "dropblock": [(0, 0.4), (0, 0.4), (1, 5)],
        "crop": [(64 / 96, 1)],
    }
    for method, bounds in ranges.items():
        for number in range(2):
            made = config(tmp_path / "all/search" / f"{method}-{number}")
            lr, parameters = halton(number, bounds)
            if method == "dropblock":
                parameters[2] = float(f"{parameters[2]:.0f}")
            assert made["lr"] == lr
            assert list(made["regularizer"]["parameters"].values()) == pytest.approx(parameters, abs=5.1e-4)
    assert [arm.regularizer.method for arm in found.arms] == ["none", "backdrop", "dropout", "dropblock", "crop"]
    assert " ± " not in str(found).partition("reference")[0]  # a single seed has no interval


@pytest.mark.slow
def test_a_loss_that_is_not_finite_ends_a_search_only_if_no_setting_is_left(easy, tmp_path):
    huge = easy.replace(components=[easy.components[0].replace(weight=3e36)])
    options = {**OPTIONS, "optimizer": "sgd"}
    with pytest.raises(GptexError, match="no setting of none in the search ended with a finite loss"):
        compare(huge, tmp_path / "searched", ["none"], 1, search=2, jobs=1, **options)
    assert (tmp_path / "searched/search/none-1").is_dir()  # the second was tried after the first
    with pytest.raises(DivergedError, match="the loss of none seed-0 is not finite"):
        compare(huge, tmp_path / "given", ["none"], 1, jobs=1, **options)


# -- again and elsewhere


def test_the_same_call_again_repeats_nothing_and_says_the_same(compared, easy):
    before, table = changes(compared.folder), str(compared)
    assert len(before) > 30
    again = compare(easy, compared.folder, ["none", "backdrop"], 2, search=2, jobs=2, **OPTIONS)
    assert changes(compared.folder) == before
    assert str(again) == table


def test_another_call_for_the_same_folder_is_refused(compared, easy):
    with pytest.raises(GptexError, match="was begun with batch_size 4, not 2"):
        compare(easy, compared.folder, ["none", "backdrop"], 2, search=2, **{**OPTIONS, "batch_size": 2})
    with pytest.raises(GptexError, match=r"was begun with textures easy \(SHA-256 \w{16}…\), not easy \(SHA"):
        compare(easy.replace(seed=4), compared.folder, ["none", "backdrop"], 2, search=2, **OPTIONS)
    with pytest.raises(GptexError, match="was begun with search 2, not 3"):
        compare(easy, compared.folder, ["none", "backdrop"], 2, search=3, **OPTIONS)


@pytest.mark.parametrize(
    "change",
    [{"last": None}, {"best": []}, {"last": {}}, {"last": {"accuracy": 7}}, {"last": {"loss": math.nan}}, {"epochs": 1}],
    ids=str,
)
def test_a_result_that_others_changed_is_made_again(change, compared, easy, tmp_path):
    folder = shutil.copytree(compared.folder, tmp_path / "copied")
    path = folder / "none/seed-1/result.json"
    right = read(path)
    changed = {key: {**right[key], **value} if value and isinstance(value, dict) else value for key, value in change.items()}
    path.write_text(json.dumps({**right, **changed}))
    compare(easy, folder, ["none", "backdrop"], 2, search=2, jobs=1, **OPTIONS)
    assert read(path) == right
    assert (folder / "table.md").read_bytes() == (compared.folder / "table.md").read_bytes()


@pytest.mark.parametrize("name", ["table.md", "none", "diary.txt"])
def test_a_folder_of_something_else_is_left_alone(name, easy, tmp_path):
    (tmp_path / name).write_text("precious")
    with pytest.raises(GptexError, match=f"holds something else \\('{name}'\\)"):
        compare(easy, tmp_path, ["none"], 1, **OPTIONS)
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [(name, "precious")]


PROGRAM = """
import json, sys
from gptex import Recipe
from gptex.learn import compare
compare(Recipe.read(sys.argv[1]), sys.argv[2], ["none", "backdrop"], 2, search=2, jobs=1, **json.loads(sys.argv[3]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "killpg"), reason="groups of processes are POSIX's")
def test_one_run_at_a_time_killed_and_called_again_gives_the_same_numbers_as_two(compared, easy, tmp_path):
    """Killed with its worker while it makes the first run after the search."""
    (tmp_path / "easy.toml").write_text(easy.to_toml(), encoding="utf-8")
    out = tmp_path / "out"
    command = [sys.executable, "-c", PROGRAM, tmp_path / "easy.toml", out, json.dumps(OPTIONS)]
    with subprocess.Popen(command, start_new_session=True) as process:
        deadline = time.monotonic() + 120
        while not (out / "none/seed-0/metrics.csv").exists():
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.005)
        os.killpg(process.pid, signal.SIGKILL)
    assert not (out / "backdrop/seed-1/result.json").exists()
    finished = {path.parent for path in out.glob("*/*/result.json")}
    assert len(finished) >= 4  # the search
    before = {path: when for path, when in changes(out).items() if path.parent in finished}
    epochs = [row["seconds"] for row in rows(out / "none/seed-0/metrics.csv")]
    compare(easy, out, ["none", "backdrop"], 2, search=2, jobs=1, **OPTIONS)
    assert before.items() <= changes(out).items()
    again = [row["seconds"] for row in rows(out / "none/seed-0/metrics.csv")]
    assert again[: len(epochs) - 1] == epochs[:-1]  # the metrics of an epoch are written before all that going on needs
    assert numbers(out) == numbers(compared.folder)
    for name in ("runs.csv", "table.md"):
        assert (out / name).read_bytes() == (compared.folder / name).read_bytes()


@pytest.mark.slow
def test_redraw_trains_each_seed_on_other_textures(easy, tmp_path):
    options = {**OPTIONS, "epochs": 2, "train": "train:8"}
    compare(easy, tmp_path / "redrawn", ["none"], 2, redraw=True, jobs=1, **options)
    runs = [tmp_path / "redrawn/none" / f"seed-{seed}" for seed in range(2)]
    assert [config(run)["train"] for run in runs] == ["train-0:8", "train-1:8"]
    drawn = [RecipeDataset(easy, f"train-{seed}", length=8).read(range(8)).images for seed in range(2)]
    assert not any(np.array_equal(*pair) for pair in zip(*drawn, strict=True))
    losses = []
    for split in ("train-1", "train-0", "train"):
        alone = {**options, "seed": 1, "plots": False, "reference": False, "train": f"{split}:8"}
        losses.append([row["train_loss"] for row in train(easy, tmp_path / split, **alone).history])
    found = [float(row["train_loss"]) for row in rows(runs[1] / "metrics.csv")]
    assert found == pytest.approx(losses[0], rel=1e-4)  # but for the number of threads
    assert found != pytest.approx(losses[1], rel=1e-2)
    assert found != pytest.approx(losses[2], rel=1e-2)


# -- what cannot be


@pytest.mark.parametrize(
    ("changes", "call", "says"),
    [
        ({"splits": {"train": 4, "test": 4}}, {}, r"needs validation data: .*--val"),
        ({"splits": {"train": 4, "val": 4}}, {}, r"needs test data: .*--test"),
        ({}, {"methods": ["none", "backdrop", "none"]}, "the method none stands twice"),
        ({}, {"methods": ["dropout", "dropout:fine=0.2"]}, "the method dropout stands twice"),
        ({}, {"methods": []}, "at least one method and one seed"),
        ({}, {"seeds": 0}, "at least one method and one seed"),
        ({}, {"methods": ["none", "backdrp"]}, "did you mean 'backdrop'"),
        ({}, {"model": "small"}, "the model small needs 256 pixels a side and would see 64 × 64"),
        ({}, {"methods": ["none", "crop:share=0.9"]}, "needs 64 pixels a side and would see 58 × 58: use larger crops"),
        ({}, {"config": Config(model="custom"), "model": "custom"}, "methods are compared on the nets of gptex"),
        ({}, {"batch_size": 17}, "a batch has 17 textures, and there are 16"),
        ({}, {"methods": ["none", "crop"], "search": 2}, "there are no crops to try, leave crop out"),
        ({}, {"redraw": True}, "--train train:100"),
        ({}, {"redraw": True, "train": "train:8", "val": "train-1:8"}, "split 'train-1' cannot serve for two"),
        ({}, {"search": -1}, "a search of no setting or more"),
        ({}, {"device": "nowhere"}, "there is no device 'nowhere'"),
        ({}, {"epochs": 0}, "epochs"),
        ({}, {"seed": 3}, "a comparison chooses seed itself"),
        ({}, {"lr": 0.1, "search": 2}, "a comparison chooses lr itself"),
        ({"shape": [64, 64, 8]}, {}, "for images, not for 3 axes"),
    ],
    ids=lambda value: str(value)[:40] if isinstance(value, dict) else None,
)
def test_a_comparison_that_cannot_be_is_refused_before_anything_is_written(easy, changes, call, says, tmp_path):
    call = {**OPTIONS, "methods": ["none", "backdrop"], "seeds": 2, **call}
    if "shape" in changes:
        changes = {**changes, "components": [Component(name="only", length_scales=[1, 2], boundary="open")]}
    with pytest.raises(GptexError, match=says):
        compare(easy.replace(**changes), tmp_path / "none", **call)
    assert not (tmp_path / "none").exists()


def test_a_folder_has_no_textures_to_be_drawn_anew(folder, tmp_path):
    with pytest.raises(GptexError, match="is a folder, which has no other training textures"):
        compare(folder, tmp_path / "none", ["none"], 1, redraw=True, **{**OPTIONS, "train": "train:8", "test": "0.2"})
