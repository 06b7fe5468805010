"""`gptex fetch`, `gptex import` and `gptex combine`: textures that gptex did not draw."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from gptex_cli.options import Numbers

if TYPE_CHECKING:
    from gptex.store.manifest import Manifest

OUT = click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The new dataset's folder.")
QUIET = click.option("--quiet", is_flag=True, help="No progress bar and no report.")


@click.command()
@click.argument("name", required=False)
@click.option("--to", type=click.Path(path_type=Path), metavar="DIR", help="The dataset's folder.  [default: in the cache]")
@click.option("--raw", is_flag=True, help="Stop after the verified archive.")
@click.option("--keep-archive", is_flag=True, help="Leave the archive in the cache after the conversion.")
@click.option("--mirror", metavar="URL|DIR", help="Where the files are instead.  [default: GPTEX_MIRROR, or Zenodo]")
@click.option("--list", "as_list", is_flag=True, help="List the published datasets.")
@click.option("--quiet", is_flag=True, help="No progress bar and no report: print the folder alone.")
def fetch(
    name: str | None, to: Path | None, raw: bool, keep_archive: bool, mirror: str | None, as_list: bool, quiet: bool
) -> None:
    """Download a published dataset, check it, and convert it to gptex's format.

    NAME is one of --list, the path of a source.toml, the web address of a gptex dataset's folder, or its DOI. The same
    command goes on after an interruption. The cache's place is the system's, or GPTEX_CACHE.

    \b
    Examples:
      gptex fetch golkar-cranmer-2018 --to published
      gptex fetch https://example.org/textures/
      gptex fetch doi:10.5281/zenodo.1234567 --to textures
    """
    import gptex
    from gptex.published import published
    from gptex.store.manifest import Manifest
    from gptex.store.progress import human_bytes

    if as_list:
        for each, known in published().items():
            size = known.size if isinstance(known.size, str) else human_bytes(known.size)
            click.echo(f"{each}: {known.title} ({known.file}, {size}, doi:{known.doi}, licence {known.licence})")
        return
    if not name:
        raise click.UsageError(f"name a dataset: {', '.join(published())}, a source.toml, an address or a DOI")
    found = gptex.fetch(name, to=to, raw=raw, keep_archive=keep_archive, mirror=mirror, progress=not quiet)
    if raw or quiet:
        click.echo(found)
    else:
        _report(found, Manifest.read(found))


@click.command("import")
@click.argument("path", type=click.Path(path_type=Path))
@OUT
@click.option("--name", help="Of the dataset.  [default: that of the file]")
@QUIET
def import_(path: Path, output: Path, name: str | None, quiet: bool) -> None:
    """Convert files of the original software in PATH to gptex's format.

    PATH is a .gp pickle, a zip archive or a folder with one, or a zip archive or a folder of .npy samples. Nothing in it
    is run or unpacked.

    \b
    Example:
      gptex import GP_9.5-10+80-140.gp -o published
    """
    import gptex

    manifest = gptex.import_legacy(path, output, name=name, progress=not quiet)
    if not quiet:
        _report(output, manifest)


@click.command()
@click.argument("samples", type=click.Path(path_type=Path))
@click.option("--scales", type=Numbers(), multiple=True, required=True, help="Length scales of each component: 9.5,10.")
@click.option("--weights", type=Numbers(), help="Weight of each component: 0.75,1.25.  [default: 1]")
@OUT
@click.option("--split", help="Of the samples.  [default: the first]")
@click.option("--dtype", metavar="TYPE", default="float32", show_default=True, help="float32, float16 or float64.")
@click.option("--name", help="Of the dataset.")
@QUIET
def combine(
    samples: Path, scales: Any, weights: Any, output: Path, split: str | None, dtype: Any, name: str | None, quiet: bool
) -> None:
    """Compose textures of several length scales from the dataset SAMPLES, whose textures have one.

    Each sample is used once at most, and each class gets as many textures as the rarest length scale allows.

    \b
    Example:
      gptex combine samples --scales 9.5,10 --scales 80,140 --weights 0.75,1.25 -o textures
    """
    import gptex

    manifest = gptex.combine(
        samples, output, scales=scales, weights=weights, split=split, dtype=dtype, name=name, progress=not quiet
    )
    if not quiet:
        _report(output, manifest)


def _report(folder: Path, manifest: Manifest) -> None:
    """What was accepted: the dataset in few words, the counts of its classes, and what was left out."""
    from gptex.recipe import scale_name
    from gptex.store.progress import counted, human_bytes

    contents = manifest.contents
    shape = " x ".join(map(str, contents.shape))
    click.echo(f"{folder}: {counted(manifest.textures, 'texture')} of {shape} {contents.dtype}, {human_bytes(manifest.bytes)}")
    for name, split in manifest.splits.items():
        counts = split.per_class if isinstance(split.per_class, tuple) else (split.per_class,) * contents.n_classes
        click.echo(f"{name}:")
        for label, count in enumerate(counts):
            scales = " and ".join(map(scale_name, contents.length_scales(label)))
            click.echo(f"  label {label}: {counted(count, 'texture')} of {scales} pixels")
    if manifest.source and (left_out := manifest.source.facts().get("left out")):
        click.echo(f"left out: {left_out}")
