"""Two processes of torchrun train the net that one process trains on the same batches, but for rounding."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

METHODS = ["none", "backdrop:coarse=0.5", "dropout", "dropblock", "crop:share=0.75"]
ROUNDING = 1e-4  # relative: sums of float32 in another order differ by some 1e-7, which training makes more of
pytestmark = [pytest.mark.slow, pytest.mark.skipif(sys.platform == "win32", reason="torchrun with gloo, on POSIX")]

PROGRAM = """
import sys
from torch import distributed
from gptex.learn import train

distributed.init_process_group("gloo")  # one for all runs
source, out, *methods = sys.argv[1:]
for number, method in enumerate(methods):
    options = {"model": "tiny", "epochs": 3, "batch_size": 4, "lr": 0.01, "device": "cpu", "plots": False, "reference": False}
    train(source, f"{out}/{number}", regularizer=method, progress=False, **options)
distributed.destroy_process_group()
"""


def torchrun(*words, cwd):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *map(str, words)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=300, cwd=cwd, env=environment)


@pytest.fixture(scope="module")
def source(easy, tmp_path_factory):
    """A recipe's file; images of 96 pixels, of which crops are large enough for the net."""
    path = tmp_path_factory.mktemp("recipe") / "easy.toml"
    path.write_text(easy.replace(shape=[96, 96]).to_toml())
    return path


@pytest.fixture(scope="module")
def together(source, tmp_path_factory):
    """Folders of runs of two processes."""
    out = tmp_path_factory.mktemp("together")
    (out / "program.py").write_text(PROGRAM)
    done = torchrun(out / "program.py", source, out, *METHODS, cwd=out)
    assert done.returncode == 0, done.stderr
    return {method: out / str(number) for number, method in enumerate(METHODS)}


def test_what_is_for_one_process_is_refused_in_a_line(source, tmp_path):
    script = Path(sys.executable).with_name("gptex")
    done = torchrun("--no-python", script, "compare", source, "-o", tmp_path / "compared", "--quiet", cwd=tmp_path)
    assert done.returncode != 0
    assert done.stderr.count("gptex: a comparison is for one process: start it without torchrun") == 1
    assert not (tmp_path / "compared").exists()


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is a number, from 1 on"),
        ({"WORLD_SIZE": "0"}, "WORLD_SIZE is a number, from 1 on"),
        ({"WORLD_SIZE": "2"}, "do not come together: .*RANK expected"),
        ({"LOCAL_WORLD_SIZE": "x"}, "LOCAL_WORLD_SIZE is a number"),
        ({"RANK": "1"}, "needs 256 pixels a side"),  # other systems than torchrun number their processes, too
    ],
    ids=str,
)
def test_an_environment_that_is_none_of_torchrun_is_one_line(variables, says, source, tmp_path):
    words = [Path(sys.executable).with_name("gptex"), "train", source, "-o", tmp_path / "run", "--device", "cpu", "--quiet"]
    environment = {**os.environ, **variables}
    done = subprocess.run(words, check=False, capture_output=True, text=True, timeout=120, env=environment)
    assert done.returncode == 1
    assert re.fullmatch(f"gptex: .*{says}.*\n", done.stderr)


def close(rows, others, rounding=ROUNDING):
    """Whether the rows of two files of metrics are the same but for rounding."""
    numbers = [{key: float(value) for key, value in row.items()} for row in others]
    return len(rows) == len(others) and all(
        {key: float(value) for key, value in row.items()} == pytest.approx(other, rel=rounding)
        for row, other in zip(rows, numbers, strict=True)
    )


@pytest.mark.parametrize("method", METHODS)
def test_two_processes_train_what_one_does(method, together, source, fit, metrics, tmp_path):
    fit(source, "one", regularizer=method)
    assert close(metrics(together[method]), metrics(tmp_path / "one"))
    files = {path.name for path in together[method].iterdir()}
    assert files == {path.name for path in (tmp_path / "one").iterdir()}
    one, two = (torch.load(run / "last.pt", weights_only=True)["model"] for run in (tmp_path / "one", together[method]))
    assert one.keys() == two.keys()  # no names of a wrapper's
    assert all(torch.allclose(one[key], two[key], rtol=1e-2, atol=1e-3) for key in one)


@pytest.mark.parametrize("other", [{"batch_size": 2}, {"seed": 1}, {"regularizer": "dropout"}], ids="".join)
def test_other_batches_orders_and_noise_are_told_apart(other, together, source, fit, metrics, tmp_path):
    fit(source, "one", **other)
    assert not close(metrics(together["none"]), metrics(tmp_path / "one"), rounding=0.01)


def test_the_command_is_shared_too_and_only_one_process_speaks(together, source, metrics, tmp_path):
    script = Path(sys.executable).with_name("gptex")
    options = "-o run --model tiny --epochs 3 --batch-size 4 --lr 0.01 --device cpu --no-plots --no-reference"
    done = torchrun("--no-python", script, "train", source, *options.split(), cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert close(metrics(tmp_path / "run"), metrics(together["none"]))
    beginnings = [line.partition(":")[0].partition(" (")[0] for line in done.stdout.splitlines()]
    assert beginnings == ["run", "test, last epoch", "test, best epoch on validation data", "reference"]
    more = torchrun(
        "--no-python", script, "train", source, *options.split(), "--resume", "--epochs", 4, "--quiet", cwd=tmp_path
    )
    assert (more.returncode, more.stdout) == (0, ""), more.stderr
    assert len(metrics(tmp_path / "run")) == 4


def test_a_batch_that_cannot_be_halved_is_refused(source, tmp_path):
    script = Path(sys.executable).with_name("gptex")
    options = "-o run --model tiny --batch-size 5 --device cpu --quiet"
    done = torchrun("--no-python", script, "train", source, *options.split(), cwd=tmp_path)
    assert done.returncode != 0
    assert "gptex: a batch of 5 cannot be shared equally among 2 processes" in done.stderr.splitlines()
    assert not (tmp_path / "run").exists()
