"""`gptex info`, `gptex presets` and `gptex preview`: looking at what there is."""

from __future__ import annotations

import json
from pathlib import Path

import click


@click.command()
@click.argument("path", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def info(path: Path, as_json: bool) -> None:
    """Say what the dataset in PATH holds, from its manifest.

    \b
    Example:
      gptex info textures
    """
    from gptex.store.manifest import Manifest
    from gptex.store.progress import human_bytes

    manifest = Manifest.read(path)
    recipe = manifest.full_recipe()
    if as_json:
        summary = {"textures": manifest.textures, "bytes": manifest.bytes, **manifest.model_dump(mode="json")}
        click.echo(json.dumps(summary, indent=1, ensure_ascii=False))
        return
    splits = ", ".join(f"{name} {split.textures} ({split.per_class} per class)" for name, split in manifest.splits.items())
    rows = [
        ("name", recipe.name),
        ("textures", f"{manifest.textures}: {splits}"),
        ("image", f"{' x '.join(map(str, recipe.shape))} {recipe.dtype}"),
        ("classes", f"{recipe.n_classes}: {', '.join(recipe.classes[:8])}{', …' if recipe.n_classes > 8 else ''}"),
    ]
    for component in recipe.components:
        scales = ", ".join(f"{scale:.12g}" for scale in component.length_scales)
        error = max(manifest.losses[component.name].values())
        parts = [component.kernel_text, f"ℓ = {scales} pixels", f"weight {component.weight:g}", component.boundary]
        rows.append((component.name, ", ".join([*parts, f"error ≤ {error:.1e}"])))
    rows += [
        ("standardize", "yes" if recipe.standardize else "no"),
        ("noise_std", f"{recipe.noise_std:g}"),
        ("seed", str(recipe.seed)),
        ("shards", f"{len(manifest.shards)}, {human_bytes(manifest.bytes)}"),
        ("made with", ", ".join(f"{name} {number}" for name, number in manifest.versions.items())),
    ]
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        click.echo(f"{key:<{width}}  {value}")


@click.command()
@click.argument("name", required=False)
def presets(name: str | None) -> None:
    """List the recipes that come with gptex.

    With NAME, print that recipe in TOML, to be changed and given to `gptex generate --recipe`.

    \b
    Examples:
      gptex presets
      gptex presets golkar-cranmer-2018 > recipe.toml
    """
    import gptex

    if name:
        click.echo(gptex.preset(name).to_toml(), nl=False)
        return
    for each in gptex.presets():
        recipe = gptex.preset(each)
        counts = ", ".join(f"{split} {recipe.count(split)}" for split in recipe.splits)
        click.echo(f"{each}: {' x '.join(map(str, recipe.shape))}, {recipe.n_classes} classes ({counts} textures)")


@click.command()
@click.argument("source", metavar="PATH|RECIPE")
@click.option("-o", "--output", type=click.Path(path_type=Path), required=True, help="The picture: .png, .pdf or .svg.")
@click.option("--columns", type=click.IntRange(min=1), default=4, show_default=True, help="Examples of each class.")
@click.option("--split", help="Which split to show.  [default: the first]")
@click.option("--dpi", type=click.IntRange(min=10), default=100, show_default=True, help="Dots per inch.")
def preview(source: str, output: Path, columns: int, split: str | None, dpi: int) -> None:
    """Draw examples of each class of a dataset folder, a recipe's file or a preset.

    \b
    Example:
      gptex preview textures -o preview.png
    """
    from gptex.show import preview, save

    save(preview(source, columns=columns, split=split), output, dpi=dpi)
    click.echo(output)
