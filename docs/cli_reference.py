"""Prints docs/cli.md: the help of every command. `make docs` writes it, and a test compares."""

from __future__ import annotations

import click
from gptex_cli.main import cli


def reference() -> str:
    """The reference page in Markdown."""
    parts = ["# Commands", "", "Written by `make docs` from the commands' own `--help`."]
    for name, command in [("", cli), *sorted(cli.commands.items())]:
        title = f"gptex {name}".strip()
        context = click.Context(command, info_name=title, **{**cli.context_settings, "terminal_width": 100})
        parts += ["", f"## {title}", "", "```text", command.get_help(context), "```"]
    return "\n".join(parts) + "\n"


if __name__ == "__main__":
    print(reference(), end="")  # noqa: T201
