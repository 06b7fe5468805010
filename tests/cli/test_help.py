"""Help texts: every command has one, with an example that runs."""

import shlex
import shutil

import pytest

COMMANDS = ["generate", "plan", "info", "verify", "repair", "reference", "presets", "preview", "report", "card"]
SMALLER = {"train=25": "train=1", "test=10": "test=1"}


def examples(text):
    """The commands in the part of a help text that begins with Example: or Examples:."""
    _, _, rest = text.partition("Example")
    block = rest.partition("\n")[2].partition("\n\n")[0]
    return [line.partition(" > ")[0].strip() for line in block.replace("\\\n", " ").splitlines()]


def smaller(example):
    """The arguments of an example after `gptex`, with counts that are quick to make."""
    name, *arguments = shlex.split(example)
    assert name == "gptex"
    arguments = [SMALLER.get(argument, argument) for argument in arguments]
    return [*arguments, "--per-class", "1"] if arguments[0] == "generate" and "--split" not in arguments else arguments


def test_the_command_lists_its_commands(done):
    text = done("--help")
    for command in COMMANDS:
        assert f"\n  {command} " in text
    assert done("-h") == text


def test_the_examples_of_the_command_run_one_after_the_other(done, tmp_path):
    found = examples(done("--help"))
    assert [example.split()[1] for example in found] == ["generate", "preview"]
    for example in found:
        done(*smaller(example))
    assert (tmp_path / "preview.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help_with_examples_that_run(command, done, original, tmp_path):
    text = done(command, "--help")
    assert text.startswith(f"Usage: gptex {command} ")
    found = examples(text)
    assert found
    for number, example in enumerate(found):
        folder = tmp_path / str(number)
        folder.mkdir()
        if command not in ("generate", "plan"):
            shutil.copytree(original, folder / "textures")
            shutil.copytree(original, folder / "published")
        arguments = smaller(example)
        if "--against" in arguments:  # what this dataset is, not what the example's is
            arguments[-1] = "published/recipe.toml"
        assert arguments[0] == command
        done(*arguments, cwd=folder)


def test_version_is_the_packages(done):
    from gptex import __version__

    assert done("--version").split() == ["gptex,", "version", __version__]


def test_help_needs_no_heavy_module(gptex):
    """Python itself says on stderr what it imports."""
    result = gptex("--help", env={"PYTHONPROFILEIMPORTTIME": "1"})
    imported = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert {"click", "gptex_cli.main"} <= imported
    assert not imported & {"numpy", "scipy", "h5py", "pydantic", "matplotlib", "torch", "tqdm", "gptex.recipe"}
