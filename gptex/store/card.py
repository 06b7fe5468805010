"""The data card that lies in a dataset's folder: README.md, written from the manifest so that the two cannot disagree.

What it says is here in parts, for whoever says it in another form: sentences, and tables with their heads first.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

from gptex.recipe import Recipe, scale_name
from gptex.store.manifest import Manifest, Split
from gptex.store.source import printable

Table = list[tuple[str, ...]]
PAPER = "Golkar, S. and Cranmer, K. (2018), Backdrop: Stochastic Backpropagation, arXiv:1806.01337"
TAGS = ("gptex", "gaussian-process", "gaussian-random-field", "texture")
SIZES = {10**3: "n<1K", 10**4: "1K<n<10K", 10**5: "10K<n<100K", 10**6: "100K<n<1M", 10**7: "1M<n<10M", 10**8: "10M<n<100M"}
LICENCES = ("cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "cc-by-nc-4.0", "mit", "apache-2.0", "bsd-3-clause")
NOT_STATED = ("", "not stated", "unknown", "none")


def card(manifest: Manifest, statistics: str = "") -> str:
    """The data card of a dataset, in Markdown with the front matter of Hugging Face.

    Parameters
    ----------
    manifest : Manifest
    statistics : str
        What a certificate says, as text.
    """
    stated, text = licence(manifest)
    lines = [
        *_front_matter(manifest),
        f"# {_inline(manifest.contents.name)}",
        "",
        summary(manifest),
        "",
        *_markdown(splits_table(manifest)),
        "",
        *_composition(manifest),
        "",
        *_markdown(classes_table(manifest)),
        "",
        *(["## Statistics", "", *(f"    {line}".rstrip() for line in statistics.splitlines()), ""] if statistics else []),
        "## Reading",
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
        f"Of Hugging Face, `datasets.load_dataset` of this folder finds the splits {_list(hub_names(manifest).values())}.",
        "",
        "## Licence and citation",
        "",
        _inline(text if stated else f"Licence: {text}"),
        "",
        *(f"- {_inline(citation)}" for citation in citations(manifest)),
        "",
    ]
    return "\n".join(lines)


# -- sentences


def summary(manifest: Manifest) -> str:
    """What a dataset is and who made it, in a sentence or two."""
    contents = manifest.contents
    what = f"textures of {' × '.join(map(str, contents.shape))} pixels ({contents.dtype}) in {contents.n_classes} classes, "
    if isinstance(contents, Recipe):
        made = f"made by gptex {_version(manifest)} from the recipe in `recipe.toml`."
        return f"{manifest.textures} Gaussian-process {what}{made} `gptex repair` makes a damaged shard again."
    return f"{manifest.textures} {what}which gptex {_version(manifest)} did not draw but brought into its format."


def _version(manifest: Manifest) -> str:
    return printable(manifest.versions.get("gptex", "of an unknown version"))


def composed(recipe: Recipe) -> str:
    """How a texture comes about, in a sentence."""
    standardized = ", each shifted to mean 0 and scaled to standard deviation 1 first" if recipe.standardize else ""
    noise = f", plus white noise of standard deviation {recipe.noise_std:g}" if recipe.noise_std else ""
    return f"Each texture is a weighted sum of independent Gaussian random fields{standardized}{noise}"


def licence(manifest: Manifest) -> tuple[bool, str]:
    """Whether a licence is stated, and what is."""
    source = manifest.source
    if source is None:
        return False, "not stated. Whoever publishes the textures states it; gptex asks nothing for them."
    told = next((str(source.origin[key]) for key in ("licence", "license") if source.origin.get(key)), "")
    if told.casefold() in NOT_STATED:
        return False, "not stated by where the textures come from."
    return True, printable(told)


def citations(manifest: Manifest) -> list[str]:
    """What to cite."""
    source = manifest.source
    told = [printable(str(source.origin["citation"]))] if source and source.origin.get("citation") else []
    own = f"The gptex developers, gptex {_version(manifest)}"
    return [*told, own, *([] if any(PAPER in each for each in told) else [f"{PAPER}, whose benchmark such textures are"])]


# -- tables


def splits_table(manifest: Manifest) -> Table:
    """Textures and shards of each split."""
    rows: Table = [("split", "textures", "per class", "shards")]
    for name, split in manifest.splits.items():
        shards = sum(shard.split == name for shard in manifest.shards)
        rows.append((name, str(split.textures), per_class_text(split), str(shards)))
    return rows


def per_class_text(split: Split) -> str:
    """Textures of each class of a split, for people.

    >>> per_class_text(Split(textures=5, per_class=(3, 2)))
    '3, 2'
    """
    return ", ".join(map(str, split.per_class)) if isinstance(split.per_class, tuple) else str(split.per_class)


def classes_table(manifest: Manifest) -> Table:
    """Labels, names and length scales of the classes."""
    rows: Table = [("label", "class", "length scales (pixels)")]
    for label, name in enumerate(manifest.classes):
        rows.append((str(label), name, ", ".join(map(scale_name, manifest.contents.length_scales(label)))))
    return rows


def components_table(manifest: Manifest, recipe: Recipe) -> Table:
    """The components of a recipe."""
    rows: Table = [("component", "kernel", "length scales (pixels)", "weight", "boundary", "declared error of the covariance")]
    for each in recipe.components:
        scales, loss = ", ".join(map(scale_name, each.length_scales)), manifest.loss(each.name)
        rows.append((each.name, each.kernel_text, scales, f"{each.weight:g}", each.boundary, f"≤ {loss:.1e}"))
    return rows


# -- Markdown


def _composition(manifest: Manifest) -> list[str]:
    contents = manifest.contents
    if isinstance(contents, Recipe):
        return [f"{composed(contents)}:", "", *_markdown(components_table(manifest, contents)), "", f"Seed {contents.seed}."]
    return [f"- **{_inline(fact)}**: {_inline(text)}" for fact, text in contents.facts().items()]


def _markdown(table: Table) -> list[str]:
    head, *rows = ("| " + " | ".join(map(_inline, row)) + " |" for row in table)
    return [head, "|" + "---|" * len(table[0]), *rows]


def _inline(text: str) -> str:
    """A text that others wrote, so that it looks as it is written and is no markup."""
    return re.sub(r"([\\`*\[\]<>|#])", r"\\\1", text)


def _list(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


# -- Hugging Face


def hub_names(manifest: Manifest) -> dict[str, str]:
    """The name of each split at Hugging Face, where names have no hyphens."""
    names: dict[str, str] = {}
    for split in manifest.splits:
        name = split.replace("-", "_")
        while name in ("all", *names.values()):  # all of them together are called all
            name += "_"
        names[split] = name
    return names


def _front_matter(manifest: Manifest) -> list[str]:
    """YAML; texts are written as JSON, which is YAML too."""
    stated, text = licence(manifest)
    name = text.casefold() if stated else "unknown"
    known = not stated or name in LICENCES
    largest = next((words for limit, words in SIZES.items() if manifest.textures < limit), "n>100M")
    return [
        "---",
        f"pretty_name: {_quoted(manifest.contents.name)}",
        f"license: {name if known else 'other'}",
        *([] if known else [f"license_name: {_quoted(text)}"]),
        "size_categories:",
        f"- {largest}",
        "task_categories:",
        f"- {'image-classification' if len(manifest.contents.shape) == 2 else 'other'}",
        "tags:",
        *(f"- {tag}" for tag in (*TAGS, *(["synthetic"] if manifest.recipe else []))),
        "configs:",
        "- config_name: default",
        "  data_files:",
        *(
            line
            for split, name in hub_names(manifest).items()
            for line in (f"  - split: {_quoted(name)}", f"    path: {_quoted(f'{split}/*.h5')}")
        ),
        "---",
        "",
    ]


def _quoted(text: str) -> str:
    return json.dumps(printable(text), ensure_ascii=False)
