"""`gptex generate` and `gptex plan`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from gptex_cli.options import RECIPE_OPTIONS, Bytes, add, recipe_from

OUTPUT_OPTIONS: list[Any] = [
    click.option("--workers", type=click.IntRange(min=1), help="Worker processes.  [default: one for each core]"),
    click.option("--shard-size", type=Bytes(), default="256MiB", show_default=True, help="Largest size of a shard's images."),
    click.option(
        "--compression", type=click.Choice(["none", "gzip", "lzf"]), default="none", show_default=True, help="Of the images."
    ),
    click.option("--overwrite", is_flag=True, help="Delete the gptex dataset that is in OUT first."),
    click.option("--quiet", is_flag=True, help="No progress bar and no summary."),
]


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@add(RECIPE_OPTIONS)
@add(OUTPUT_OPTIONS)
def generate(
    out: Path, workers: int | None, shard_size: int, compression: Any, overwrite: bool, quiet: bool, **recipe_choices: Any
) -> None:
    """Write a dataset into the folder OUT.

    What is already there is kept: the same command goes on after an interruption, and larger counts extend a dataset. Shards
    that are missing or cut short are made again.

    \b
    Examples:
      gptex generate textures --preset golkar-cranmer-2018
      gptex generate textures --size 512 --scales 9.5,10 --scales 80,140 --weights 0.75,1.25 \\
                              --boundary periodic --boundary open --split train=25 --split test=10
    """
    recipe = recipe_from(**recipe_choices)
    import gptex
    from gptex.store.generate import plan_into
    from gptex.store.progress import counted, human_bytes

    how: dict[str, Any] = {"shard_size": shard_size, "compression": compression, "overwrite": overwrite}
    new = plan_into(out, recipe, **how).textures
    manifest = gptex.generate(recipe, out, workers=workers, progress=not quiet, **how)
    if not quiet:
        parts = [
            counted(manifest.textures, "texture") + ("" if new else ", all there already"),
            counted(len(manifest.classes), "class"),
            counted(len(manifest.shards), "shard"),
            human_bytes(manifest.bytes),
        ]
        click.echo(f"{out}: {', '.join(parts)}")


@click.command()
@click.argument("out", type=click.Path(path_type=Path))
@add(RECIPE_OPTIONS)
@add(OUTPUT_OPTIONS)
@click.option("--accuracy", type=float, metavar="SHARE", help="Also find the noise that lets the best classifier reach this.")
def plan(
    out: Path,
    workers: int | None,
    shard_size: int,
    compression: Any,
    overwrite: bool,
    quiet: bool,
    accuracy: float | None,
    **recipe_choices: Any,
) -> None:
    """Say what `generate` would write, and for how long.

    Takes the same arguments, draws a few textures to measure the time, and leaves OUT as it is.

    \b
    Examples:
      gptex plan textures --preset golkar-cranmer-2018 --split train=1000
      gptex plan textures --size 64 --scales 3,4 --per-class 100 --accuracy 0.9
    """
    recipe = recipe_from(**recipe_choices)
    import shutil

    from gptex.store.generate import estimated_seconds, plan_into
    from gptex.store.progress import counted, human_bytes
    from gptex.store.workers import workers_for

    todo = plan_into(out, recipe, shard_size=shard_size, compression=compression, overwrite=overwrite)
    processes = workers_for(len(todo.shards), workers)
    seconds = estimated_seconds(todo, processes)
    existing = next(folder for folder in [out.absolute(), *out.absolute().parents] if folder.exists())
    counts = ", ".join(f"{split} {todo.recipe.count(split)} ({n} per class)" for split, n in todo.recipe.splits.items())
    names = ", ".join(todo.recipe.classes[:8]) + (", …" if todo.recipe.n_classes > 8 else "")
    rows = {
        "classes": f"{todo.recipe.n_classes}: {names}",
        "textures": f"{counts}; {todo.textures} to make",
        "image": f"{' x '.join(map(str, todo.recipe.shape))} {todo.recipe.dtype}, {human_bytes(todo.recipe.texture_bytes)}",
        "shards": f"{len(todo.shards)} to write" + (f", {len(todo.kept)} there already" if todo.kept else ""),
        "bytes": human_bytes(todo.bytes) + (" before compression" if compression != "none" else ""),
        "time": f"about {seconds:.1f} s with {counted(processes, 'worker')}, from a few textures"
        if todo.shards
        else "nothing to do",
        "free disk": human_bytes(shutil.disk_usage(existing).free),
    }
    if accuracy is not None:
        from gptex.trust import noise_for

        noise, found = noise_for(recipe, accuracy, progress=not quiet)
        low, high = found.interval
        rows["noise"] = f"--noise-std {noise:g} for {found.kind} accuracy {found.accuracy:.3f} ({low:.3f} to {high:.3f})"
    for key, value in rows.items():
        click.echo(f"{key:<10} {value}")
