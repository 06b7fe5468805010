"""The examples run as they stand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"


def run(name, *arguments, **env):
    command = [sys.executable, EXAMPLES / name, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, env={**os.environ, **env})
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.slow
def test_the_plain_one_learns(tmp_path):
    printed = run("plain_torch.py", tmp_path / "textures")
    accuracies = [float(number) for number in re.findall(r"accuracy (\S+)", printed)]
    assert len(accuracies) == 4
    assert accuracies[-1] > 0.8  # chance is 1 / 3


def test_hugging_face_reads_the_shards_as_they_are(folder, arrays, tmp_path):
    datasets = pytest.importorskip("datasets", reason="needs Hugging Face datasets, which no extra brings")
    printed = run("hugging_face.py", folder, HF_HOME=str(tmp_path), HF_HUB_OFFLINE="1")
    assert "num_rows: 40" in printed
    assert "torch.Size([24, 17]) tensor(0)" in printed
    files = sorted(map(str, (folder / "train").glob("*.h5")))
    loaded = datasets.load_dataset("hdf5", data_files=files, split="train", cache_dir=str(tmp_path / "here"))
    for name, array in zip(("images", "labels", "length_scales"), arrays, strict=True):
        np.testing.assert_array_equal(loaded.with_format("numpy")[name][:], array)


@pytest.mark.slow
def test_lightning_takes_the_dataset_as_it_is(folder):
    pytest.importorskip("lightning", reason="needs lightning, which no extra brings")
    run("with_lightning.py", folder)
