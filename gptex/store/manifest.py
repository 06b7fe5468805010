"""The manifest: what a dataset folder holds, written last. docs/format.md is the normative text."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gptex.errors import DatasetError, RecipeError
from gptex.recipe import Recipe, scale_name
from gptex.store.files import write_text
from gptex.store.shard import FORMAT, Count, Shard
from gptex.store.source import Contents, Source

MANIFEST = "manifest.json"
RECIPE = "recipe.toml"
SOURCE = "source.json"
CARD = "README.md"
Positive = Annotated[int, Field(ge=1)]


class Split(BaseModel):
    """Size of a split.

    Attributes
    ----------
    textures : int
    per_class : int or tuple of int
        Textures of each class: one number if all classes have as many, else one for each label.
    """

    model_config = ConfigDict(frozen=True)

    textures: Positive
    per_class: Positive | tuple[Count, ...]


class Manifest(BaseModel):
    """What a dataset folder holds.

    Attributes
    ----------
    format : int
        Of the layout and the shards, 1.
    recipe, recipe_sha256 : dict, str
        The recipe without its counts, as in `Recipe.to_json`, and the hash of that text; None for textures from elsewhere.
    source : Source
        What textures from elsewhere are; None for those of a recipe.
    splits : dict of str to Split
    classes : tuple of str
        Names, in the order of labels.
    shards : tuple of Shard
    versions : dict of str to str
        Of gptex and of what the bits of a texture depend on.
    losses : dict
        Declared error of the covariance by component and length scale, as a share of the component's variance. Empty for
        textures from elsewhere, of which nothing is known.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    recipe: dict[str, Any] | None = None
    recipe_sha256: str | None = None
    source: Source | None = None
    splits: dict[str, Split]
    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    versions: dict[str, str]
    losses: dict[str, dict[str, float]] = {}

    @classmethod
    def of(cls, recipe: Recipe, shards: Iterable[Shard]) -> Self:
        """The manifest of a dataset with these shards, which hold all splits of the recipe."""
        text = recipe.to_json()
        return cls(
            format=FORMAT,
            recipe=json.loads(text),
            recipe_sha256=hashlib.sha256(text.encode()).hexdigest(),
            splits={name: Split(textures=recipe.count(name), per_class=n) for name, n in recipe.splits.items()},
            classes=recipe.classes,
            shards=tuple(shards),
            versions=_versions(),
            losses=recipe.losses(),
        )

    @classmethod
    def of_source(cls, source: Source, splits: dict[str, Split], shards: Iterable[Shard]) -> Self:
        """The manifest of a dataset of textures from elsewhere."""
        return cls(
            format=FORMAT, source=source, splits=splits, classes=source.classes, shards=tuple(shards), versions=_versions()
        )

    @classmethod
    def read(cls, folder: str | Path) -> Self:
        """The manifest of the dataset in `folder`.

        Raises
        ------
        DatasetError
            If it is missing, is not JSON, is of a future format, or lacks something.
        """
        path = Path(folder) / MANIFEST
        try:
            text = path.read_bytes()
        except FileNotFoundError:
            if (path.parent / RECIPE).exists():
                reason = f"has no {MANIFEST}: its run was not finished, give the same `gptex generate` again"
            else:
                reason = f"has no {MANIFEST}: it is not a gptex dataset" if path.parent.exists() else "does not exist"
            raise DatasetError(f"{folder} {reason}") from None
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error.strerror}") from None
        return cls.parse(text, path, "delete it and run the same `gptex generate` again, which keeps right shards")

    @classmethod
    def parse(cls, text: bytes, where: str | Path, advice: str = "it is not a gptex manifest") -> Self:
        """The manifest in the bytes of a file that lies at `where`; errors are those of `read`."""
        try:
            data = json.loads(text.decode("utf-8-sig"))
        except (ValueError, RecursionError) as error:
            raise DatasetError(f"{where} is not JSON ({error}): {advice}") from None
        found = data.get("format") if isinstance(data, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise DatasetError(f"{where} has format {found}, this gptex reads up to {FORMAT}: upgrade gptex")
        try:
            manifest = cls(**data) if isinstance(data, dict) else None
        except ValidationError as error:
            problem = error.errors()[0]
            key = ".".join(str(step) for step in problem["loc"])
            raise DatasetError(f"{where} is damaged: {key}: {problem['msg']}") from None
        if manifest is None or manifest.format != FORMAT:
            raise DatasetError(f"{where} is not a gptex manifest")
        _check_manifest(where, manifest)
        return manifest

    @property
    def contents(self) -> Contents:
        """What the dataset is: its recipe with the counts of the splits, or its source."""
        if self.source:
            return self.source
        return Recipe(**{**(self.recipe or {}), "splits": {name: split.per_class for name, split in self.splits.items()}})

    def full_recipe(self) -> Recipe:
        """The recipe with the counts of the splits; DatasetError for textures from elsewhere, which have none."""
        contents = self.contents
        if not isinstance(contents, Recipe):
            raise DatasetError(f"the dataset {contents.name!r} has no recipe: its textures come from elsewhere")
        return contents

    def __repr__(self) -> str:
        name = self.contents.name
        return f"Manifest({name!r}: {self.textures} textures in {', '.join(self.splits)}, {self.bytes} bytes)"

    @property
    def textures(self) -> int:
        """Number of textures in all splits."""
        return sum(split.textures for split in self.splits.values())

    @property
    def bytes(self) -> int:
        """Bytes of all shards."""
        return sum(shard.bytes for shard in self.shards)

    def loss(self, component: str) -> float:
        """Declared error of the covariance of a component: the largest of its length scales'."""
        return max(self.losses[component].values())

    def write(self, folder: Path) -> None:
        """Write the manifest into `folder`, whole or not at all."""
        data = self.model_dump(mode="json", exclude_none=True)
        write_text(folder / MANIFEST, json.dumps(data, indent=1, ensure_ascii=False) + "\n")


def _versions() -> dict[str, str]:
    packages = {name: version(name) for name in ("gptex", "numpy", "scipy", "h5py")}
    return {**packages, "python": platform.python_version(), "machine": platform.machine()}


def _check_manifest(path: str | Path, manifest: Manifest) -> None:
    """Raise DatasetError unless the manifest's parts agree: recipe with hash, losses and classes, shards with splits."""

    def check(holds: bool, problem: str) -> None:
        if not holds:
            raise DatasetError(f"{path} is damaged: {problem}")

    check(bool(manifest.splits and manifest.shards), "it counts no textures")
    check((manifest.recipe is None) != (manifest.source is None), "it has neither recipe nor source, or both")
    if manifest.recipe is not None:
        text = json.dumps(manifest.recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        check(
            hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest() == manifest.recipe_sha256,
            "its recipe does not match its hash",
        )
    try:
        contents = manifest.contents
    except RecipeError as error:
        raise DatasetError(f"{path} is damaged: recipe: {error}") from None
    components = contents.components if isinstance(contents, Recipe) else ()
    expected = {component.name: {scale_name(scale) for scale in component.length_scales} for component in components}
    check({name: set(losses) for name, losses in manifest.losses.items()} == expected, "its losses are not those of its recipe")
    check(manifest.classes == contents.classes, "its classes are not those of its recipe")
    for shard in manifest.shards:
        check(shard.split in manifest.splits, f"it does not count split {shard.split!r} of {shard.file}")
        in_place = Path(shard.file).parent.name == shard.split
        check(in_place, f"{shard.file} is not in the folder of split {shard.split!r}")
    for name, split in manifest.splits.items():
        first = 0
        for shard in sorted((shard for shard in manifest.shards if shard.split == name), key=lambda shard: shard.first):
            check(shard.first == first, f"texture {first} of split {name!r} is in no shard or in two")
            first += shard.count
        counts = split.per_class if isinstance(split.per_class, tuple) else (split.per_class,) * contents.n_classes
        check(len(counts) == contents.n_classes, f"split {name!r} does not count each class")
        right = first == split.textures == sum(counts)
        check(right, f"split {name!r} has {split.textures} textures, its shards {first}, its classes {sum(counts)}")
