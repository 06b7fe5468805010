"""`gptex preview`, `gptex view`, `gptex report` and `gptex card`: what a person looks at."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click


@click.command()
@click.argument("source", metavar="PATH|RECIPE")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The picture: .png, .pdf or .svg.")
@click.option("--columns", type=click.IntRange(min=1), default=4, show_default=True, help="Examples of each class.")
@click.option("--split", help="Which split to show.  [default: the first]")
@click.option("--class", "classes", metavar="NAME|LABEL", multiple=True, help="Show this class; repeat it for more.")
@click.option("--index", "indices", metavar="N", type=click.IntRange(min=0), multiple=True, help="Show texture N of the split.")
@click.option("--zoom", type=click.FloatRange(min=1), default=1, metavar="FACTOR", help="Show the central part, enlarged.")
@click.option("--dpi", type=click.IntRange(min=10), default=100, show_default=True, help="Dots per inch.")
def preview(source: str, output: Path, dpi: int, **options: Any) -> None:
    """Draw examples of each class of a dataset folder, a recipe's file or a preset.

    \b
    Examples:
      gptex preview textures -o preview.png
      gptex preview textures -o closer.png --class 0 --zoom 4
    """
    from gptex.show import preview, save

    save(preview(source, **options), output, dpi=dpi)
    click.echo(output)


@click.command()
@click.argument("source", metavar="PATH|RECIPE")
@click.option("--split", help="Which split to show.  [default: the first]")
@click.option("--index", metavar="N", type=click.IntRange(min=0), default=0, help="The texture to begin with.")
def view(source: str, split: str | None, index: int) -> None:
    """Open a window that shows a texture, and step through the others by keys.

    It says which keys. Without a display, `gptex preview` draws a picture instead.

    \b
    Example:
      gptex view textures
    """
    from gptex.show import view

    view(source, split=split, index=index)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The page, such as report.html.")
@click.option("--against", metavar="RECIPE", help="What textures from elsewhere should be, a file or a preset.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Look at N textures of a class at most.")
@click.option("--no-stats", is_flag=True, help="Without statistics, which take the longest.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def report(path: Path, output: Path, against: str | None, limit: int | None, no_stats: bool, quiet: bool) -> None:
    """Write a page on the dataset in PATH: what it is, what it looks like, and its statistics against theory.

    The page is one file that needs no network: to be opened in a browser, printed or sent.

    \b
    Examples:
      gptex report textures -o report.html
      gptex report textures -o report.html --limit 20
    """
    if no_stats and (against or limit):
        raise click.UsageError(f"--{'against' if against else 'limit'} does not go with --no-stats")
    import gptex

    gptex.report(path, output, against=against, limit=limit, stats=not no_stats, progress=not quiet)
    click.echo(output)


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--format", "form", type=click.Choice(["md", "croissant"]), default="md", show_default=True)
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Write it to this file.  [default: print it]")
@click.option("--stats", is_flag=True, help="With the statistics of the pixels against theory.")
@click.option("--against", metavar="RECIPE", help="With --stats: what textures from elsewhere should be, a file or a preset.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="With --stats: look at N textures of a class at most.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def card(path: Path, form: str, output: Path | None, stats: bool, quiet: bool, **options: Any) -> None:
    """The data card of the dataset in PATH, from its manifest.

    In Markdown it is what lies in the folder as README.md, with front matter for Hugging Face; in the format of Croissant
    it is metadata for machines, with the SHA-256 of each shard.

    \b
    Examples:
      gptex card textures
      gptex card textures --stats -o textures/README.md
      gptex card textures --format croissant -o textures/croissant.json
    """
    given = {key: value for key, value in options.items() if value is not None}
    if given and not stats:
        raise click.UsageError(f"--{next(iter(given))} goes with --stats")
    import gptex
    from gptex.errors import GptexError
    from gptex.show import card
    from gptex.store.files import write_text
    from gptex.store.manifest import MANIFEST, RECIPE

    if output and output.name in (MANIFEST, RECIPE):
        raise GptexError(f"{output} is a file of a dataset, not a card: choose another name")
    certificate = gptex.certify(path, progress=not quiet, **given) if stats else None
    text = card(path, form=form, certificate=certificate)
    if output:
        write_text(output, text)
        click.echo(output)
    else:
        click.echo(text, nl=False)
