"""The manifest: what a dataset folder holds, written last. docs/format.md is the normative text."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from gptex.errors import DatasetError, RecipeError
from gptex.recipe import Recipe
from gptex.store.files import write_text
from gptex.store.shard import FORMAT, Shard

MANIFEST = "manifest.json"
RECIPE = "recipe.toml"
CARD = "README.md"


def scale_name(scale: float) -> str:
    """A length scale as it stands in the names of classes and in the manifest's losses."""
    return f"{scale:.12g}"


class Split(BaseModel):
    """Size of a split."""

    model_config = ConfigDict(frozen=True)

    textures: int = Field(ge=1)
    per_class: int = Field(ge=1)


class Manifest(BaseModel):
    """What a dataset folder holds.

    Attributes
    ----------
    format : int
        Of the layout and the shards, 1.
    recipe, recipe_sha256 : dict, str
        The recipe without its counts, as in `Recipe.to_json`, and the hash of that text.
    splits : dict of str to Split
    classes : tuple of str
        Names, in the order of labels.
    shards : tuple of Shard
    versions : dict of str to str
        Of gptex and of what the bits of a texture depend on.
    losses : dict
        Declared error of the covariance by component and length scale, as a share of the component's variance.
    """

    model_config = ConfigDict(frozen=True)

    format: int
    recipe: dict[str, Any]
    recipe_sha256: str
    splits: dict[str, Split]
    classes: tuple[str, ...]
    shards: tuple[Shard, ...]
    versions: dict[str, str]
    losses: dict[str, dict[str, float]]

    @classmethod
    def of(cls, recipe: Recipe, shards: list[Shard]) -> Self:
        """The manifest of a dataset with these shards, which hold all splits of the recipe."""
        text = recipe.to_json()
        return cls(
            format=FORMAT,
            recipe=json.loads(text),
            recipe_sha256=hashlib.sha256(text.encode()).hexdigest(),
            splits={name: Split(textures=recipe.count(name), per_class=n) for name, n in recipe.splits.items()},
            classes=recipe.classes,
            shards=tuple(shards),
            versions={
                "gptex": version("gptex"),
                "numpy": version("numpy"),
                "scipy": version("scipy"),
                "h5py": version("h5py"),
                "python": platform.python_version(),
                "machine": platform.machine(),
            },
            losses=recipe.losses(),
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
            data = json.loads(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            if (path.parent / RECIPE).exists():
                reason = f"has no {MANIFEST}: its run was not finished, give the same `gptex generate` again"
            else:
                reason = f"has no {MANIFEST}: it is not a gptex dataset" if path.parent.exists() else "does not exist"
            raise DatasetError(f"{folder} {reason}") from None
        except OSError as error:
            raise DatasetError(f"cannot read {path}: {error.strerror}") from None
        except ValueError as error:
            raise DatasetError(
                f"{path} is not JSON ({error}): delete it and run the same `gptex generate` again, which keeps right shards"
            ) from None
        found = data.get("format") if isinstance(data, dict) else None
        if isinstance(found, int) and found > FORMAT:
            raise DatasetError(f"{path} has format {found}, this gptex reads up to {FORMAT}: upgrade gptex")
        try:
            manifest = cls(**data) if isinstance(data, dict) else None
        except ValidationError as error:
            problem = error.errors()[0]
            where = ".".join(str(step) for step in problem["loc"])
            raise DatasetError(f"{path} is damaged: {where}: {problem['msg']}") from None
        if manifest is None or manifest.format != FORMAT:
            raise DatasetError(f"{path} is not a gptex manifest")
        text = json.dumps(manifest.recipe, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(text.encode()).hexdigest() != manifest.recipe_sha256:
            raise DatasetError(f"{path} is damaged: its recipe does not match its hash")
        try:
            recipe = manifest.full_recipe()
        except RecipeError as error:
            raise DatasetError(f"{path} is damaged: recipe: {error}") from None
        expected = {c.name: {scale_name(scale) for scale in c.length_scales} for c in recipe.components}
        if {name: set(losses) for name, losses in manifest.losses.items()} != expected:
            raise DatasetError(f"{path} is damaged: its losses are not those of its recipe")
        _check_manifest(path.parent, manifest, recipe)
        return manifest

    def full_recipe(self) -> Recipe:
        """The recipe with the counts of the splits."""
        return Recipe(**{**self.recipe, "splits": {name: split.per_class for name, split in self.splits.items()}})

    def __repr__(self) -> str:
        return (
            f"Manifest({self.recipe.get('name')!r}: {self.textures} textures in {', '.join(self.splits)}, {self.bytes} bytes)"
        )

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
        write_text(folder / MANIFEST, json.dumps(self.model_dump(mode="json"), indent=1, ensure_ascii=False) + "\n")


def _check_manifest(folder: Path, manifest: Manifest, recipe: Recipe) -> None:
    """Raise DatasetError unless the manifest's parts agree: classes with recipe, shards with splits."""
    if manifest.classes != recipe.classes:
        raise DatasetError(f"{folder / MANIFEST} is damaged: its classes are not those of its recipe")
    for shard in manifest.shards:
        if shard.split not in manifest.splits:
            raise DatasetError(f"{folder / MANIFEST} is damaged: it does not count split {shard.split!r} of {shard.file}")
        if Path(shard.file).parent.name != shard.split:
            raise DatasetError(f"{folder / MANIFEST} is damaged: {shard.file} is not in the folder of split {shard.split!r}")
    for name, split in manifest.splits.items():
        shards = sorted((shard for shard in manifest.shards if shard.split == name), key=lambda shard: shard.first)
        first = 0
        for shard in shards:
            if shard.first != first:
                raise DatasetError(
                    f"{folder / MANIFEST} is damaged: texture {first} of split {name!r} is in no shard or in two"
                )
            first += shard.count
        if first != split.textures or first != recipe.count(name):
            raise DatasetError(
                f"{folder / MANIFEST} is damaged: split {name!r} has {split.textures} textures, its shards {first}"
            )
