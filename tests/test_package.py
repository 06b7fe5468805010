"""The package: cheap to import, complete when installed, and free of traces of the machine it was written on."""

import ast
import re
import shutil
import subprocess
import sys
import tomllib
import venv
import zipfile
from importlib import metadata
from pathlib import Path

import pytest

import gptex

ROOT = Path(__file__).parents[1]
HEAVY = ["torch", "matplotlib", "scipy", "scipy.stats", "h5py", "pydantic", "numpy", "tqdm", "pooch", "click"]


def python(code):
    """What a fresh Python prints."""
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout


# -- importing


def test_import_gptex_brings_no_heavy_module():
    brought = ast.literal_eval(python(f"import sys, gptex; print([name for name in {HEAVY} if name in sys.modules])"))
    assert brought == []


@pytest.mark.parametrize("module", ["gptex.recipe", "gptex.fields", "gptex.store", "gptex.show", "gptex_cli.main"])
def test_no_module_brings_torch_matplotlib_or_statistics(module):
    brought = python(f"import sys, {module}; print([n for n in ('torch', 'matplotlib', 'scipy.stats') if n in sys.modules])")
    assert brought.strip() == "[]"


def test_every_public_name_resolves_and_is_listed():
    for name in gptex.__all__:
        assert getattr(gptex, name) is not None
    assert set(gptex.__all__) <= set(dir(gptex))
    assert sorted(gptex.__all__) == sorted(set(gptex.__all__))


def test_the_names_of_the_design_are_public():
    promised = {"Recipe", "Component", "preset", "generate", "verify", "repair", "sample", "GptexError"}
    assert promised <= set(gptex.__all__)


def test_a_star_import_works():
    assert python("from gptex import *; print(Recipe.__name__, sample.__name__)").split() == ["Recipe", "sample"]


def test_an_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="'gptex' has no attribute 'smaple'"):
        gptex.smaple  # noqa: B018


def test_every_error_of_gptex_is_a_gptex_error():
    for name in ("RecipeError", "DatasetError", "MissingExtraError"):
        assert issubclass(getattr(gptex, name), gptex.GptexError)


def test_the_version_is_that_of_the_installed_package():
    assert gptex.__version__ == metadata.version("gptex")


# -- packaging


@pytest.fixture(scope="module")
def project():
    """The project table of pyproject.toml."""
    path = ROOT / "pyproject.toml"
    if not path.exists():
        pytest.skip("no source tree")
    return tomllib.loads(path.read_text())["project"]


def names(requirements):
    """Names of packages, as an index spells them."""
    return {re.match(r"[\w.-]+", requirement)[0].lower().replace("_", "-") for requirement in requirements}


def test_the_extras_and_the_script_are_there(project):
    assert {"torch", "plot", "dev"} <= set(project["optional-dependencies"])
    assert project["scripts"] == {"gptex": "gptex_cli.main:main"}
    assert names(project["dependencies"]) >= {"numpy", "scipy", "h5py", "click", "tqdm", "pooch", "pydantic"}


def test_constraints_pin_every_dependency(project):
    lines = [line.partition("#")[0].strip() for line in (ROOT / "constraints.txt").read_text().splitlines()]
    pinned = [line for line in lines if line]
    assert all(re.fullmatch(r"[\w.-]+==[\w.+!]+", line) for line in pinned)
    asked = names(project["dependencies"]).union(*map(names, project["optional-dependencies"].values()))
    assert asked - {"gptex"} <= names(pinned)


def test_no_file_names_a_path_of_the_machine_it_was_written_on():
    if not (ROOT / ".git").exists() or not shutil.which("git"):
        pytest.skip("no git checkout")
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    traces = [b"/" + name + b"/" for name in (b"work", b"root", b"home/[a-z]+", b"Users/[a-z]+", b"tmp/proto")]
    pattern = re.compile(rb"(?<![\w.])(" + b"|".join(traces) + b")")
    files = [ROOT / name.decode() for name in listed.split(b"\0") if name]
    assert files
    found = {str(path): match[0] for path in files if path.is_file() and (match := pattern.search(path.read_bytes()))}
    assert found == {}


@pytest.mark.slow
def test_the_wheel_holds_everything_and_works_without_development_dependencies(tmp_path, project):
    built = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", tmp_path, ROOT]
    subprocess.run(built, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    inside = set(zipfile.ZipFile(wheel).namelist())
    cards = {f"gptex/{path.relative_to(ROOT).as_posix()}" for path in (ROOT / "data_cards").rglob("*") if path.is_file()}
    assert len(cards) >= 2
    assert cards | {"gptex/py.typed", "gptex/recipe/recipe.py", "gptex_cli/main.py"} <= inside
    assert not any(name.startswith(("tests/", "docs/", "benchmarks/")) for name in inside)

    venv.create(tmp_path / "venv", with_pip=True)
    bin_folder = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    pip = [bin_folder / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", wheel]
    subprocess.run(pip, check=True, capture_output=True)
    absent = "import importlib.util as u; print([n for n in ('matplotlib', 'pytest', 'torch', 'dask') if u.find_spec(n)])"
    empty = tmp_path / "empty"
    empty.mkdir()

    def run(*command):
        return subprocess.run(command, cwd=empty, capture_output=True, text=True, check=False)

    assert run(bin_folder / "python", "-c", absent).stdout.strip() == "[]"
    assert run(bin_folder / "gptex", "--version").stdout.split()[-1] == gptex.__version__
    preset = ("--preset", "golkar-cranmer-2018", "--per-class", "1")
    generated = run(bin_folder / "gptex", "generate", "textures", *preset)
    assert generated.returncode == 0, generated.stderr
    assert run(bin_folder / "gptex", "verify", "textures", "--quiet").stdout == "1 shard, all right\n"
    preview = run(bin_folder / "gptex", "preview", "textures", "-o", "picture.png")
    assert preview.returncode == 1
    assert "gptex[plot]" in preview.stderr
    assert len(preview.stderr.splitlines()) == 1
