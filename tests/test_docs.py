"""The documentation keeps step with the code: the command reference, and the README's Python."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def test_the_command_reference_is_what_help_prints():
    printed = subprocess.run([sys.executable, ROOT / "docs/cli_reference.py"], capture_output=True, text=True, check=True)
    assert (ROOT / "docs/cli.md").read_text(encoding="utf-8") == printed.stdout, "run `make docs`"


def test_the_readmes_python_runs_from_top_to_bottom(tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    assert len(blocks) >= 3
    script = (
        "\n".join(blocks) + "\nassert images.shape == (8, 1, 256, 256) and field.shape == (512, 512) and len(fields) == 100\n"
    )
    script += "assert recipe.classes == ('3-20', '4-20', '3-30', '4-30')\n"
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("page", ["fields.md", "recipe.md", "learn.md", "trust.md", "training.md"])
def test_the_python_of_a_page_runs_from_top_to_bottom(page, tmp_path):
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.DOTALL)
    assert blocks
    script = "\n".join(["import gptex", "import numpy as np", *blocks])
    done = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_every_page_that_is_linked_is_there():
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), *ROOT.glob("data_cards/*/card.md")]:
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"
