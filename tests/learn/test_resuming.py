"""A run that is killed or stopped, at whatever moment and however often, goes on to the very numbers of one that was not.

The runs are real ones of the installed script, the kills real ones, too: kill -9.
"""

import hashlib
import json
import random
import shlex
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from gptex import GptexError
from gptex.learn import train

COMMAND = Path(sys.executable).with_name("gptex")
LONG = {"epochs": 16, "channels": 32, "regularizer": "backdrop:coarse=0.5"}
OPTIONS = "--model tiny --channels 32 --epochs 16 --batch-size 4 --lr 0.01 --backdrop coarse=0.5 --device cpu --no-plots"
posix = pytest.mark.skipif(sys.platform == "win32", reason="signals as POSIX has them")


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Of each run: sums in another order would not be the same to the last bit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield


KILLED = """
import os, signal
from gptex.learn import runs, train
write = runs._write
def killed(path, contents):
    if path.name == "best.pt" and contents["epoch"] == {epochs}:
        os.kill(os.getpid(), signal.SIGKILL)
    write(path, contents)
runs._write = killed
train({source!r}, {out!r}, plots=False, reference=False, progress=False, **{options})
"""


def to_train(source, out):
    """The command."""
    return [str(COMMAND), "train", str(source), "-o", str(out), *OPTIONS.split(), "--no-reference", "--quiet"]


@pytest.fixture(scope="module")
def undisturbed(easy_folder, tmp_path_factory):
    """The folder of a run that nobody stopped."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    subprocess.run(to_train(easy_folder, folder), check=True, timeout=120)
    return folder


@pytest.fixture
def command(easy_folder, out):
    return to_train(easy_folder, out)


@pytest.fixture
def out(tmp_path):
    """A folder with an awkward name."""
    return tmp_path / "the données"


@contextmanager
def started(command):
    with subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as run:
        try:
            yield run
        finally:
            run.kill()


def wait_for(condition, run, seconds=60):
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert run.poll() is None, f"it ended before it could be stopped: {run.stderr.read()}"
        assert time.monotonic() < end, "it did not come to that"
        time.sleep(0.002)
    return found


def epochs(out):
    path = out / "metrics.csv"
    return len(path.read_text().splitlines()) - 1 if path.exists() else 0


def tensors(out, name="last.pt"):
    """All that a checkpoint holds but for the times."""
    found = torch.load(out / name, weights_only=True)
    return {**found, "history": [{**row, "seconds": 0} for row in found.get("history", [])]}


def same(one, other):
    """Whether two checkpoints hold the same numbers, to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def hashes(out):
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}


def finish(command, out, undisturbed, metrics):
    """Go on to the end, which is that of the run that nobody stopped."""
    done = subprocess.run(command, check=False, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert metrics(out) == metrics(undisturbed)
    assert same(tensors(out), tensors(undisturbed))
    assert same(tensors(out, "best.pt"), tensors(undisturbed, "best.pt"))
    assert (out / "result.json").read_bytes() == (undisturbed / "result.json").read_bytes()
    assert {path.name for path in out.iterdir()} == {path.name for path in undisturbed.iterdir()}


def check_stopped(out, undisturbed, metrics):
    """What a stopped run leaves are epochs of the undisturbed one, and one at most is not in the checkpoint."""
    rows = metrics(out)
    assert rows == metrics(undisturbed)[: len(rows)]
    kept = torch.load(out / "last.pt", weights_only=True)["epoch"] if (out / "last.pt").exists() else 0
    assert len(rows) - 1 <= kept <= len(rows)
    assert not (out / "result.json").exists()


# -- killed


@posix
@pytest.mark.slow
def test_killed_again_and_again_at_any_moment_and_resumed_it_comes_to_the_same(command, out, undisturbed, metrics):
    moments = random.Random(1)
    for _ in range(3):
        before = epochs(out)
        with started([*command, "--resume"]) as run:
            wait_for(lambda before=before: epochs(out) > before, run)
            time.sleep(moments.random() * 0.05)
            run.kill()
        assert run.returncode == -signal.SIGKILL
        check_stopped(out, undisturbed, metrics)
    finish([*command, "--resume"], out, undisturbed, metrics)


@posix
@pytest.mark.slow
@pytest.mark.parametrize("name", ["last.pt", "metrics.csv"])
def test_killed_while_a_file_is_written_it_resumes_and_leaves_nothing_half_written(name, command, out, undisturbed, metrics):
    with started(command) as run:
        wait_for(lambda: epochs(out) > 2, run)
        while not list(out.glob(f".{name}.*.part")):  # stopped first, so that it is sure to be there still
            run.send_signal(signal.SIGCONT)
            wait_for(lambda: list(out.glob(f".{name}.*.part")), run)
            run.send_signal(signal.SIGSTOP)
            time.sleep(0.01)
        run.kill()
    assert len(list(out.glob(".*.part"))) == 1
    check_stopped(out, undisturbed, metrics)
    finish([*command, "--resume"], out, undisturbed, metrics)


@pytest.mark.slow
@posix
def test_killed_before_the_best_weights_of_the_last_epoch_are_written_it_resumes(easy_folder, fit, tmp_path):
    """Which is the last one of a run as long as to the best epoch of a longer one."""
    out, program = tmp_path / "killed", tmp_path / "program.py"
    options = {"model": "tiny", "batch_size": 4, "lr": 0.01, "device": "cpu"}
    epochs = options["epochs"] = fit(easy_folder, tmp_path / "longer", epochs=5, **options).best_epoch
    program.write_text(KILLED.format(epochs=epochs, source=str(easy_folder), out=str(out), options=options))
    whole = fit(easy_folder, tmp_path / "whole", **options)
    killed = subprocess.run([sys.executable, program], check=False, timeout=120)
    assert killed.returncode == -signal.SIGKILL
    assert torch.load(out / "last.pt", weights_only=True)["epoch"] == epochs
    result = fit(easy_folder, out, resume=True, **options)
    assert (result.best, result.last, result.best_epoch) == (whole.best, whole.last, epochs)
    assert same(tensors(out, "best.pt"), tensors(tmp_path / "whole", "best.pt"))


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(easy_folder, fit, tmp_path):
    fit(easy_folder, epochs=1)
    for name in (".last.pt.0123abcd.part", ".best.pt.0123abcd.part", ".last.pt.mine.part", "notes.txt"):
        (tmp_path / "run" / name).write_text("half")
    fit(easy_folder, resume=True, epochs=2)
    left = {path.name for path in (tmp_path / "run").iterdir()}
    assert left == {"config.json", "metrics.csv", "last.pt", "best.pt", "result.json", ".last.pt.mine.part", "notes.txt"}


# -- stopped


@posix
@pytest.mark.slow
def test_a_stopped_run_says_how_to_go_on_and_does(command, out, undisturbed, metrics, easy_folder, fit):
    with started(command) as run:
        wait_for(lambda: epochs(out) > 1, run)
        run.send_signal(signal.SIGSTOP)
        with pytest.raises(GptexError, match="in use by another run"):
            fit(easy_folder, out, resume=True, **LONG)
        run.send_signal(signal.SIGINT)
        run.send_signal(signal.SIGCONT)
        _, said = run.communicate(timeout=30)
    assert run.returncode == 130
    check_stopped(out, undisturbed, metrics)
    message, again = said.strip().splitlines()[-1].split("; to go on: ")  # after lines of progress, if it was slow
    assert message == "gptex: stopped"
    program, *arguments = shlex.split(again)
    assert program == "gptex"
    assert arguments == [*command[1:], "--resume"]
    finish([command[0], *arguments], out, undisturbed, metrics)


# -- resumed


def test_a_run_that_ended_and_one_that_never_began_can_be_resumed_too(easy_folder, fit, metrics, tmp_path):
    first = fit(easy_folder, resume=True)
    before, numbers, kept = (
        metrics(tmp_path / "run"),
        (tmp_path / "run" / "result.json").read_bytes(),
        tensors(tmp_path / "run"),
    )
    again = fit(easy_folder, resume=True)
    assert again == first
    assert (metrics(tmp_path / "run"), (tmp_path / "run" / "result.json").read_bytes()) == (before, numbers)
    assert same(tensors(tmp_path / "run"), kept)


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, id="adam"),
        pytest.param({"optimizer": "sgd", "regularizer": "dropout"}, id="sgd and dropout"),
        pytest.param({"warmup": 3}, id="warmup"),
        pytest.param({"amp": "fp16", "train": "train:8", "test": "test:4"}, id="scaled gradients"),
    ],
)
def test_more_epochs_are_those_of_a_longer_run(options, easy_folder, fit, metrics, tmp_path):
    fit(easy_folder, epochs=2, **options)
    more = fit(easy_folder, epochs=4, resume=True, **options)
    whole = fit(easy_folder, "whole", epochs=4, **options)
    assert metrics(tmp_path / "run") == metrics(tmp_path / "whole")
    assert same(tensors(tmp_path / "run"), tensors(tmp_path / "whole"))
    assert more.as_json() == whole.as_json()
    assert json.loads((tmp_path / "run" / "config.json").read_bytes())["config"]["epochs"] == 4


def test_weights_that_differ_in_a_bit_are_told_apart(undisturbed):
    one, other = tensors(undisturbed), tensors(undisturbed)
    assert same(one, other)
    other["model"]["conv0.bias"][0] += 1e-7
    assert not same(one, other)


# -- refused


@pytest.fixture(scope="module")
def finished(easy_folder, quick, tmp_path_factory):
    """A run of cosine schedule, not to be changed."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    train(easy_folder, folder, **{**quick, "schedule": "cosine"})
    return folder


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"resume": False}, "holds a run already"),
        ({"lr": 0.02}, "lr 0.01, not 0.02"),
        ({"seed": 1}, "seed 0, not 1"),
        ({"batch_size": 5}, "batch_size 4, not 5"),
        ({"regularizer": "backdrop"}, "regularizer none, not backdrop:fine=0.3,coarse=0.95"),
        ({"epochs": 4}, "epochs 3, not 4"),  # of the cosine
        ({"epochs": 2}, "epochs 3, not 2"),
        ({"train": "train:36"}, "train train, not train:36"),
        ({"val": "0.2"}, "val the default, not 0.2"),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(value),
)
def test_another_run_in_the_folder_is_refused_and_nothing_changes(options, says, finished, easy_folder, fit):
    before = hashes(finished)
    with pytest.raises(GptexError, match=says):
        fit(easy_folder, finished, **{"schedule": "cosine", "resume": True, **options})
    assert hashes(finished) == before


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"seed": 1}, id="seed"),
        pytest.param({"noise_std": 0.1}, id="noise"),
        pytest.param({"shape": [128, 64]}, id="shape"),
        pytest.param({"splits": {"train": 11, "val": 3, "test": 5}}, id="more textures"),
        pytest.param({"splits": {"train": 10, "test": 5}}, id="no val"),
    ],
)
def test_other_textures_are_refused_and_nothing_changes(change, finished, easy, fit):
    before = hashes(finished)
    with pytest.raises(GptexError, match="was begun with other textures, 'easy'"):
        fit(easy.replace(**change), finished, schedule="cosine", resume=True)
    assert hashes(finished) == before


@pytest.mark.parametrize("resume", [False, True], ids=["new", "resumed"])
def test_a_folder_of_something_else_is_refused_and_left_alone(resume, easy_folder, fit, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "diary.txt").write_text("dear diary")
    with pytest.raises(GptexError, match=r"holds something else \('diary.txt'\)"):
        fit(easy_folder, resume=resume)
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["diary.txt"]
    with pytest.raises(GptexError, match="is not a folder"):
        fit(easy_folder, tmp_path / "run" / "diary.txt", resume=resume)
