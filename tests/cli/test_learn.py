"""`gptex train` and `gptex evaluate`: files that others read, few words, and one clear line for what cannot be."""

import csv
import json
import subprocess

import matplotlib.image
import pytest
import torch

pytestmark = pytest.mark.slow  # each command brings torch
QUICK = ["--model", "tiny", "--epochs", "3", "--batch-size", "2", "--lr", "0.01", "--device", "cpu"]
QUIET = ["--no-plots", "--no-reference", "--quiet"]


@pytest.fixture(scope="module")
def trained(original, command, tmp_path_factory):
    """A run with all that a run can have, and what was said; not to be changed."""
    run = tmp_path_factory.mktemp("learn") / "run"
    words = [str(command), "train", str(original), "-o", str(run), *QUICK, "--val", "test", "--test", "0.5", "--tensorboard"]
    done = subprocess.run(words, check=False, capture_output=True, encoding="utf-8", timeout=120)
    assert done.returncode == 0, done.stderr
    return run, done


def metrics(run):
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_the_report_says_what_the_files_hold(trained):
    run, done = trained
    result = json.loads((run / "result.json").read_bytes())
    first, last, best, *reference = done.stdout.splitlines()
    assert first.startswith(f"{run}: {result['parameters']} parameters, 3 epochs, training loss ")
    assert f"{float(metrics(run)[-1]['train_loss']):.4f}" in first
    assert f"accuracy {result['last']['accuracy']:.3f}" in last
    assert f"({result['best_epoch']}): accuracy {result['best']['accuracy']:.3f}" in best
    assert f"accuracy {result['reference']['accuracy']:.3f}" in reference[0]
    assert done.stderr.splitlines()[-1].startswith("classify: ")
    assert [line.split(",")[0] for line in done.stderr.splitlines() if line.startswith("test: ")] == ["test: 2/2 textures"] * 2
    assert (run / "curves.png").exists()
    assert (run / "confusion.png").exists()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")  # of tensorboard's own imports
def test_tensorboard_reads_the_same_numbers(trained):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run, _ = trained
    found = EventAccumulator(str(run / "tensorboard")).Reload()
    rows = metrics(run)
    names = {name.replace("_", "/", 1): name for name in rows[0]}
    assert set(found.Tags()["scalars"]) == set(names)
    for tag, name in names.items():
        events = found.Scalars(tag)
        assert [event.step for event in events] == [1, 2, 3]
        assert [event.value for event in events] == pytest.approx([float(row[name]) for row in rows], rel=1e-6)


def test_quiet_says_nothing_and_nothing_is_made_that_was_not_asked_for(gptex, original, tmp_path):
    done = gptex("train", original, "-o", "run", *QUICK, *QUIET)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "metrics.csv", "last.pt", "result.json"}
    result = json.loads((tmp_path / "run" / "result.json").read_bytes())
    assert (result["reference"], result["no_reference"]) == (None, "not asked for")


def test_evaluate_gives_the_numbers_of_the_run_and_a_picture(gptex, trained, original, tmp_path):
    run, _ = trained
    words = ["evaluate", run, original, "--part", "test", "--device", "cpu", "--json", "-o", "confusion.png"]
    quiet, loud = gptex(*words, "--quiet"), gptex(*words)
    assert (quiet.returncode, quiet.stderr, quiet.stdout) == (0, "", loud.stdout)
    assert loud.stderr.startswith("test: 2/2 textures")
    said = json.loads(quiet.stdout)
    last = metrics(run)[-1]  # the run's validation data are all of the split
    assert said["textures"] == 2
    assert said["accuracy"] == float(last["val_accuracy"])
    assert said["loss"] == pytest.approx(float(last["val_loss"]), rel=1e-5)
    assert sum(map(sum, said["confusion"])) == 2
    image = matplotlib.image.imread(tmp_path / "confusion.png")
    assert min(image.shape[:2]) > 200
    assert image[..., :3].std() > 0.05


@pytest.mark.parametrize(
    ("name", "says"), [("x.xyz", "no format 'xyz'"), ("nowhere/x.png", "no such folder"), ("x", "no ending")]
)
def test_a_picture_that_cannot_be_is_refused_before_the_test(name, says, refused, trained, original, tmp_path):
    run, _ = trained
    assert says in refused("evaluate", run, original, "--part", "other", "-o", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("options", "code", "says"),
    [
        ("--backdrop fine=0.3 --dropout fine=0.1", 2, "--backdrop and --dropout are two regularizers"),
        ("--regularizer none --crop share=0.5", 2, "another regularizer than none"),
        ("--optimizer adamax", 2, "adamax"),
        ("--backdrop fien=0.3", 1, "did you mean 'fine'?"),
        ("--dropout fine=1", 1, "drop probability"),
        ("--crop share=half", 1, "share=half"),
        ("--model small", 1, "256 pixels a side"),
        ("--batch-size 5", 1, "a batch has 5 textures, and there are 4"),
        ("--train other", 1, "'other'"),
        ("--val 1.5", 1, "'1.5'"),
    ],
)
def test_what_cannot_be_is_one_line_and_nothing_is_written(options, code, says, refused, original, tmp_path):
    assert says in refused("train", original, "-o", "run", *QUICK, *QUIET, *options.split(), code=code)
    assert list(tmp_path.iterdir()) == []


def test_a_run_that_is_there_is_left_alone_and_one_that_is_not_is_no_run(refused, trained, original, contents):
    run, _ = trained
    before = contents(run)
    assert "--resume" in refused("train", original, "-o", run, *QUICK, *QUIET)
    assert "batch_size 2, not 1" in refused(
        "train", original, "-o", run, *QUICK, *QUIET, "--val", "test", "--test", "0.5", "--resume", "--batch-size", 1
    )
    assert contents(run) == before
    assert "config.json" in refused("evaluate", original, original)


def test_a_loss_that_is_not_finite_is_one_line_and_the_epochs_before_it_stay(refused, original, tmp_path):
    """The loss of the first and only batch of an epoch is that of weights before the first step."""
    options = [*QUICK, *QUIET, "--batch-size", "4", "--optimizer", "sgd", "--lr", "1e6", "--weight-decay", "1e6"]
    line = refused("train", original, "-o", "run", *options)
    assert "the loss of epoch 2 is" in line
    assert "--lr" in line
    assert len(metrics(tmp_path / "run")) == 1
    kept = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert kept["epoch"] == 1
    assert not (tmp_path / "run" / "result.json").exists()
