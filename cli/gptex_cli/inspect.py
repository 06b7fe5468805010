"""`gptex info` and `gptex presets`: what there is, in words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import click

if TYPE_CHECKING:
    from gptex.recipe import Recipe
    from gptex.store.manifest import Manifest
    from gptex.store.source import Contents, Source


@click.command()
@click.argument("source", metavar="PATH|RECIPE")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
def info(source: str, as_json: bool) -> None:
    """Say what a dataset folder holds, or what a recipe's file or a preset would make.

    \b
    Examples:
      gptex info textures
      gptex info golkar-cranmer-2018
    """
    from gptex.catalog import find_recipe
    from gptex.recipe import Recipe
    from gptex.store.manifest import Manifest
    from gptex.store.progress import human_bytes
    from gptex.store.source import printable

    manifest = Manifest.read(source) if Path(source).is_dir() else None
    contents = manifest.contents if manifest else find_recipe(source)
    if as_json:
        click.echo(json.dumps(_summary(contents, manifest), indent=1, ensure_ascii=False))
        return
    rows = [
        ("name", contents.name),
        ("textures", _textures(contents, manifest)),
        ("image", f"{' x '.join(map(str, contents.shape))} {contents.dtype}"),
        ("classes", f"{contents.n_classes}: {', '.join(contents.classes[:8])}{', …' if contents.n_classes > 8 else ''}"),
        ("labels", f"0 to {contents.n_classes - 1}, in this order"),
        *(_recipe_rows(contents, manifest) if isinstance(contents, Recipe) else _source_rows(contents)),
    ]
    if manifest:
        rows += [
            ("shards", f"{len(manifest.shards)}, {human_bytes(manifest.bytes)}"),
            ("made with", printable(", ".join(f"{name} {number}" for name, number in manifest.versions.items()))),
        ]
    width = max(len(key) for key, _ in rows)
    for key, value in rows:
        click.echo(f"{key:<{width}}  {value}")


def _summary(contents: Contents, manifest: Manifest | None) -> dict[str, Any]:
    """What is known, for programs."""
    if manifest:
        data = manifest.model_dump(mode="json", exclude_none=True)
        return {"textures": manifest.textures, "bytes": manifest.bytes, **data}
    recipe = cast("Recipe", contents)
    return {
        "textures": sum(map(recipe.count, recipe.splits)),
        "recipe": json.loads(recipe.to_json()),
        "splits": {split: {"textures": recipe.count(split), "per_class": n} for split, n in recipe.splits.items()},
        "classes": recipe.classes,
    }


def _textures(contents: Contents, manifest: Manifest | None) -> str:
    """How many textures each split has, or would have."""
    from gptex.store.card import per_class_text

    if manifest:
        counts = {name: (split.textures, per_class_text(split)) for name, split in manifest.splits.items()}
    else:
        recipe = cast("Recipe", contents)
        counts = {name: (recipe.count(name), str(per_class)) for name, per_class in recipe.splits.items()}
    splits = ", ".join(f"{name} {textures} ({per_class} per class)" for name, (textures, per_class) in counts.items())
    return f"{sum(textures for textures, _ in counts.values())}: {splits}" if splits else "as many as are asked for"


def _recipe_rows(recipe: Recipe, manifest: Manifest | None) -> list[tuple[str, str]]:
    """What a recipe says beyond its classes; with the errors of its components where they are known."""
    from gptex.recipe import scale_name

    rows = []
    for component in recipe.components:
        scales = ", ".join(map(scale_name, component.length_scales))
        parts = [component.kernel_text, f"ℓ = {scales} pixels", f"weight {component.weight:g}", component.boundary]
        if manifest:
            parts.append(f"error ≤ {manifest.loss(component.name):.1e}")
        rows.append((component.name, ", ".join(parts)))
    return [
        *rows,
        ("standardize", "yes" if recipe.standardize else "no"),
        ("noise_std", f"{recipe.noise_std:g}"),
        ("seed", str(recipe.seed)),
    ]


def _source_rows(source: Source) -> list[tuple[str, str]]:
    """Where textures come from that gptex did not draw."""
    return list(source.facts().items())


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
