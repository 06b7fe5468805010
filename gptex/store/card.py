"""The data card that lies in a dataset's folder: README.md, written from the manifest so that the two cannot disagree."""

from __future__ import annotations

from gptex.recipe import Recipe, scale_name
from gptex.store.manifest import Manifest, Split
from gptex.store.source import Source


def card(manifest: Manifest) -> str:
    """The data card of a dataset, in Markdown."""
    contents = manifest.contents
    lines = [
        f"# {contents.name}",
        "",
        *(_of_recipe(manifest, contents) if isinstance(contents, Recipe) else _of_source(manifest, contents)),
        "",
        "| label | class | length scales (pixels) |",
        "|---|---|---|",
        *(
            f"| {label} | {name} | {', '.join(map(scale_name, contents.length_scales(label)))} |"
            for label, name in enumerate(manifest.classes)
        ),
        "",
        "`manifest.json` lists the shards with their SHA-256, and `gptex verify` checks them. A shard is an HDF5 file with "
        "`images`, `labels`, `length_scales` and `index`, one row a texture:",
        "",
        "```python",
        "import h5py",
        "",
        f'with h5py.File("{manifest.shards[0].file}") as shard:',
        '    images, labels = shard["images"][:], shard["labels"][:]',
        "```",
        "",
    ]
    return "\n".join(lines)


def _splits(manifest: Manifest) -> list[str]:
    lines = ["| split | textures | per class | shards |", "|---|---|---|---|"]
    for name, split in manifest.splits.items():
        shards = sum(shard.split == name for shard in manifest.shards)
        lines.append(f"| {name} | {split.textures} | {per_class_text(split)} | {shards} |")
    return lines


def per_class_text(split: Split) -> str:
    """Textures of each class of a split, for people.

    >>> per_class_text(Split(textures=5, per_class=(3, 2)))
    '3, 2'
    """
    return ", ".join(map(str, split.per_class)) if isinstance(split.per_class, tuple) else str(split.per_class)


def _of_source(manifest: Manifest, source: Source) -> list[str]:
    shape = " × ".join(map(str, source.shape))
    return [
        f"{manifest.textures} textures of {shape} pixels ({source.dtype}) in {source.n_classes} classes, which gptex "
        f"{manifest.versions['gptex']} did not draw but brought into its format.",
        "",
        *_splits(manifest),
        "",
        *(f"- **{fact}**: {text}" for fact, text in source.facts().items()),
    ]


def _of_recipe(manifest: Manifest, recipe: Recipe) -> list[str]:
    shape = " × ".join(map(str, recipe.shape))
    lines = [
        f"{manifest.textures} Gaussian-process textures of {shape} pixels ({recipe.dtype}) in {recipe.n_classes} classes, "
        f"made by gptex {manifest.versions['gptex']} from the recipe in `recipe.toml`. `gptex repair` makes a damaged shard "
        "again.",
        "",
        *_splits(manifest),
        "",
        "Each texture is a weighted sum of independent Gaussian random fields"
        + (", each shifted to mean 0 and scaled to standard deviation 1 first" if recipe.standardize else "")
        + (f", plus white noise of standard deviation {recipe.noise_std:g}" if recipe.noise_std else "")
        + ":",
        "",
        "| component | kernel | length scales (pixels) | weight | boundary | declared error of the covariance |",
        "|---|---|---|---|---|---|",
    ]
    for component in recipe.components:
        name = component.name.replace("|", "\\|")
        scales = ", ".join(map(scale_name, component.length_scales))
        loss = manifest.loss(component.name)
        lines.append(
            f"| {name} | {component.kernel_text} | {scales} | {component.weight:g} | {component.boundary} | ≤ {loss:.1e} |"
        )
    return [*lines, "", f"Seed {recipe.seed}."]
