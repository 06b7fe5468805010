"""The data card that lies in a dataset's folder: README.md, written from the manifest so that the two cannot disagree."""

from __future__ import annotations

from gptex.store.manifest import Manifest, scale_name


def card(manifest: Manifest) -> str:
    """The data card of a dataset, in Markdown."""
    recipe = manifest.full_recipe()
    shape = " × ".join(map(str, recipe.shape))
    lines = [
        f"# {recipe.name}",
        "",
        f"{manifest.textures} Gaussian-process textures of {shape} pixels ({recipe.dtype}) in {recipe.n_classes} classes, "
        f"made by gptex {manifest.versions['gptex']} from the recipe in `recipe.toml`.",
        "",
        "| split | textures | per class | shards |",
        "|---|---|---|---|",
    ]
    for name, split in manifest.splits.items():
        shards = sum(shard.split == name for shard in manifest.shards)
        lines.append(f"| {name} | {split.textures} | {split.per_class} | {shards} |")
    lines += [
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
        lines.append(
            f"| {name} | {component.kernel_text} | {scales} | {component.weight:g} | {component.boundary} "
            f"| ≤ {manifest.loss(component.name):.1e} |"
        )
    lines += ["", f"Seed {recipe.seed}.", "", "| label | class | length scales |", "|---|---|---|"]
    for label, name in enumerate(manifest.classes):
        lines.append(f"| {label} | {name} | {', '.join(map(scale_name, recipe.length_scales(label)))} |")
    lines += [
        "",
        "`manifest.json` lists the shards with their SHA-256; `gptex verify` checks them and `gptex repair` makes a damaged "
        "one again. A shard is an HDF5 file with `images`, `labels`, `length_scales` and `index`, one row a texture:",
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
