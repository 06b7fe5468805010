"""`gptex verify` and `gptex repair`."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--quiet", is_flag=True, help="No progress bar.")
def verify(path: Path, quiet: bool) -> None:
    """Check the dataset in PATH: its structure, and the hash of each shard.

    Names each bad shard and what is wrong with it; then the exit code is 1.

    \b
    Example:
      gptex verify textures
    """
    import gptex

    found = gptex.verify(path, progress=not quiet)
    click.echo(str(found))
    if not found.passed:
        repair = f"`{shlex.join(['gptex', 'repair', str(path)])}` makes bad shards again"
        anew = "without a recipe there is nothing to make bad shards from: fetch, import or combine the dataset again"
        click.echo(f"gptex: {anew if found.manifest.source else repair}", err=True)
        sys.exit(1)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one for each core]")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def repair(path: Path, workers: int | None, quiet: bool) -> None:
    """Make the missing and damaged shards of the dataset in PATH again, from its recipe.

    \b
    Example:
      gptex repair textures
    """
    import gptex

    found = gptex.repair(path, workers=workers, progress=not quiet)
    for problem in found.problems:
        click.echo(f"{problem.file}: {problem.reason}; made again")
    if found.passed:
        click.echo(f"{found}; nothing to repair")
