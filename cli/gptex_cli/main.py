"""The group of commands, and how a run ends: one line for a user's error, and an exit code."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import sys
from types import FrameType
from typing import NoReturn

import click

from gptex import __version__
from gptex.errors import GptexError
from gptex_cli.generate import generate, plan
from gptex_cli.inspect import info, presets, preview
from gptex_cli.published import combine, fetch, import_
from gptex_cli.verify import repair, verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gptex")
def cli() -> None:
    """Labelled multi-scale Gaussian-process textures: exact, fast, verified.

    \b
    Example:
      gptex generate textures --preset golkar-cranmer-2018
      gptex preview textures -o preview.png
    """


for command in (generate, plan, fetch, import_, combine, info, verify, repair, presets, preview):
    cli.add_command(command)


class _Terminated(KeyboardInterrupt):
    """SIGTERM, to be handled like Ctrl-C but for the exit code."""


def _on_sigterm(_signal: int, _frame: FrameType | None) -> NoReturn:
    raise _Terminated


def main() -> NoReturn:
    """Run the command line; exits with 0, 1 (error), 2 (usage), 130 (interrupt) or 143 (terminated)."""
    signal.signal(signal.SIGTERM, _on_sigterm)
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115  closed by the shell's >&-; no data file may take its place
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: SIM115
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # not every terminal has ℓ, nor the letters of every folder
    try:
        code = cli.main(standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code if isinstance(code, int) else 0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except GptexError as error:
        click.echo(f"gptex: {error}", err=True)
        sys.exit(1)
    except (click.Abort, KeyboardInterrupt) as stop:
        command = shlex.join(["gptex", *(word for word in sys.argv[1:] if word != "--overwrite")])  # not what is done so far
        resumes = sys.argv[1:2] in (["generate"], ["repair"], ["fetch"], ["import"], ["combine"])
        click.echo(f"\ngptex: stopped; to go on: {command}" if resumes else "\ngptex: stopped", err=True)
        sys.exit(143 if isinstance(stop, _Terminated) or isinstance(stop.__context__, _Terminated) else 130)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            click.echo(f"gptex: {error.strerror}", err=True)
        elif error.errno != errno.EPIPE:  # the reader of our output has gone, as `head` does
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
