"""The group of commands, and how a run ends: one line for a user's error, and an exit code."""

from __future__ import annotations

import errno
import io
import os
import shlex
import signal
import sys
from contextlib import suppress
from types import FrameType
from typing import NoReturn

import click

from gptex import __version__
from gptex.errors import GptexError
from gptex_cli.generate import generate, plan
from gptex_cli.inspect import info, presets
from gptex_cli.learn import compare, evaluate, speaks, train
from gptex_cli.published import combine, fetch, import_
from gptex_cli.show import card, preview, report, view
from gptex_cli.verify import reference, repair, verify


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(__version__, prog_name="gptex")
def cli() -> None:
    """Labelled multi-scale Gaussian-process textures: exact, fast, verified.

    \b
    Example:
      gptex generate textures --preset golkar-cranmer-2018
      gptex preview textures -o preview.png
    """


MAKE = (generate, plan, fetch, import_, combine)
LOOK = (info, presets, preview, view, report, card)
for command in (*MAKE, *LOOK, verify, repair, reference, train, evaluate, compare):
    cli.add_command(command)


STOPS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)]


class _Stopped(KeyboardInterrupt):
    """A signal that ends the run, as Ctrl-C does."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


def _on_stop(number: int, _frame: FrameType | None) -> NoReturn:
    for each in STOPS:  # one is enough: a second exception would come in the middle of cleaning up
        signal.signal(each, lambda *_: None)
    raise _Stopped(number)


def main() -> NoReturn:
    """Run the command line; exits with 0, 1 (error), 2 (usage), or after a signal 128 and its number: Ctrl-C is 130."""
    for number in STOPS:
        if signal.getsignal(number) != signal.SIG_IGN:  # as nohup and a shell's background jobs have it
            signal.signal(number, _on_stop)
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
        _fail(str(error))
    except (click.Abort, KeyboardInterrupt) as stop:
        command = shlex.join(["gptex", *(word for word in sys.argv[1:] if word != "--overwrite")])  # not what is done so far
        again = "; add --overwrite if the old dataset is still there" if "--overwrite" in sys.argv else ""
        command += " --resume" if sys.argv[1:2] == ["train"] and "--resume" not in sys.argv else ""
        resumes = sys.argv[1:2] in ([each] for each in ("generate", "repair", "fetch", "import", "combine", "train", "compare"))
        click.echo(f"\ngptex: stopped{again}; to go on: {command}" if resumes else "\ngptex: stopped", err=True)
        signals = [each.number for each in (stop, stop.__context__) if isinstance(each, _Stopped)]
        sys.exit(128 + (signals or [signal.SIGINT])[0])
    except MemoryError as error:
        _fail(f"out of memory{f' ({error})' if str(error) else ''}: use smaller images or fewer --workers")
    except OSError as error:
        with suppress(OSError):  # what standard output does not take must not be tried again at the end
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        if error.errno == errno.EPIPE:  # the reader of our output has gone, as `head` does
            sys.exit(1)
        where = f"{error.filename}: " if error.filename else ""
        hint = ": raise the limit, see `ulimit -n`" if error.errno == errno.EMFILE else ""
        _fail(f"{where}{error.strerror or error}{hint}")


def _fail(message: str) -> NoReturn:
    if speaks():
        click.echo(f"gptex: {message}", err=True)
    sys.exit(1)
