"""`gptex verify`, `gptex repair` and `gptex reference`: what a dataset is worth."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--stats", is_flag=True, help="Then the statistics of the pixels against theory, too.")
@click.option("--against", metavar="RECIPE", help="With --stats: what textures from elsewhere should be, a file or a preset.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="With --stats: look at N textures of a class at most.")
@click.option(
    "--false-alarm",
    type=click.FloatRange(0, 1, min_open=True, max_open=True),
    metavar="P",
    help="With --stats: chance that a right dataset fails.  [default: 0.001]",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def verify(path: Path, stats: bool, as_json: bool, quiet: bool, **options: Any) -> None:
    """Check the dataset in PATH: its structure, the hash of each shard, and with --stats what its textures look like.

    Names each bad shard and what is wrong with it, each class and what was found of it; if anything is wrong, the exit code
    is 1.

    \b
    Examples:
      gptex verify textures
      gptex verify textures --stats
      gptex verify published --stats --against golkar-cranmer-2018
    """
    given = {key: value for key, value in options.items() if value is not None}
    if given and not stats:
        raise click.UsageError(f"--{next(iter(given)).replace('_', '-')} goes with --stats")
    import gptex

    if stats:  # what is wrong with it is said before all is read
        from gptex.store.manifest import Manifest
        from gptex.trust.examine import theory_of

        given["against"] = theory_of(Manifest.read(path), given.get("against"))
    found = gptex.verify(path, progress=not quiet)
    certificate = gptex.certify(path, progress=not quiet, **given) if stats and found.passed else None
    passed = found.passed and (certificate is None or certificate.passed)
    if as_json:
        problems = [problem._asdict() for problem in found.problems]
        summary = {
            "passed": passed,
            "problems": problems,
            "statistics": certificate and json.loads(certificate.to_json()),
        }
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
    else:
        click.echo(str(found) if not certificate else f"{found}\n\n{certificate}")
    if not found.passed:
        repair = f"`{shlex.join(['gptex', 'repair', str(path)])}` makes bad shards again"
        anew = "without a recipe there is nothing to make bad shards from: fetch, import or combine the dataset again"
        click.echo(f"gptex: {anew if found.manifest.source else repair}", err=True)
    sys.exit(0 if passed else 1)


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


@click.command()
@click.argument("source", metavar="PATH|RECIPE")
@click.option("--textures", type=click.IntRange(min=1), default=400, show_default=True, help="How many to classify at most.")
@click.option("--against", metavar="RECIPE", help="What textures from elsewhere should be, a file or a preset.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def reference(source: str, textures: int, against: str | None, as_json: bool, quiet: bool) -> None:
    """Say how well the classes of a dataset folder, a recipe's file or a preset can be told apart at all.

    With periodic fields, noise and no standardization this is the Bayes-optimal accuracy; otherwise that of Whittle's
    likelihood, which the best classifier reaches at least.

    \b
    Example:
      gptex reference golkar-cranmer-2018
    """
    from dataclasses import asdict

    import gptex

    found = gptex.oracle(source, textures=textures, against=against, progress=not quiet)
    click.echo(json.dumps(asdict(found), indent=1, ensure_ascii=False) if as_json else str(found))
