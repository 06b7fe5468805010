"""Weighted sums of single-scale samples: how the published dataset was composed ("crosses") of the published samples."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from gptex.errors import DatasetError, GptexError
from gptex.recipe import Recipe, Texture, scale_name
from gptex.store.assemble import store_source
from gptex.store.layout import SHARD_BYTES
from gptex.store.manifest import Manifest
from gptex.store.progress import counted
from gptex.store.shard import Compression, open_shard
from gptex.store.source import Source
from gptex.store.verify import verify


class _Place(NamedTuple):
    """Where a sample is."""

    file: Path
    row: int


def combine(
    samples: str | Path,
    out: str | Path,
    *,
    scales: Sequence[Sequence[float]],
    weights: Sequence[float] | None = None,
    name: str | None = None,
    dtype: Literal["float32", "float16", "float64"] = "float32",
    split: str | None = None,
    shard_size: int = SHARD_BYTES,
    compression: Compression = "none",
    progress: bool = True,
) -> Manifest:
    """Compose textures of several length scales from samples of one, as the original software did.

    Class and label are as in a recipe, the first component's length scale changing fastest; the textures go round the
    classes. Each sample is used once at most: of the samples of a length scale, the first go to the first class that has it,
    and so on. The sum is taken in float64, in the order of the components.

    Parameters
    ----------
    samples : path
        A dataset with one length scale a texture, fetched, imported or generated.
    out : path
        A folder that is not there yet, or empty.
    scales : sequence of sequences of float
        Length scales of each component, in pixels; none stands in two of them.
    weights : sequence of float, optional
        What the samples of each component are multiplied by; 1 by default.
    name : str, optional
        Of the new dataset.
    dtype : {"float32", "float16", "float64"}
        Of the new images.
    split : str, optional
        Of `samples`, and of the new dataset; by default the first.
    shard_size, compression, progress
        As of `gptex.generate`.

    Raises
    ------
    GptexError
        If the scales and weights do not fit together, or there is no such split.
    DatasetError
        If the samples are damaged, have more than one length scale each, or are too few, or a sum is too large for `dtype`.
    """
    weights = [1.0] * len(scales) if weights is None else list(weights)
    _check(scales, weights)
    folder = Path(samples)
    verification = verify(folder, progress=progress)
    manifest, contents = verification.manifest, verification.manifest.contents
    if not verification.passed:
        raise DatasetError(f"{folder} is damaged: {' '.join(verification.problems[0])}")
    if len(contents.length_scales(0)) != 1:
        raise DatasetError(f"{folder} has textures of {len(contents.length_scales(0))} length scales each, not of one")
    split = split or next(iter(manifest.splits))
    places = _places(folder, manifest, split)
    sizes = [len(choices) for choices in scales]
    per_class = _per_class(folder, places, scales, sizes)
    classes = [_choices(label, sizes) for label in range(math.prod(sizes))]
    text = " x ".join(",".join(map(scale_name, choices)) for choices in scales)
    source = Source(
        name=name or f"{contents.name} {text}"[:200],
        shape=contents.shape,
        dtype=dtype,
        class_scales=tuple(tuple(float(of[n]) for of, n in zip(scales, chosen, strict=True)) for chosen in classes),
        origin={"combined_from": contents.name, "weights": weights, **_origin(contents, manifest)},
    )

    def textures() -> Iterator[Texture]:
        for j in range(per_class):
            for label, chosen in enumerate(classes):
                image = np.zeros(contents.shape)
                for component, weight in enumerate(weights):
                    others, of = _without(chosen, component), _without(sizes, component)
                    used = _label(others, of) * per_class  # by the classes before that have this length scale
                    image += weight * _read(places[scales[component][chosen[component]]][used + j])
                with np.errstate(over="ignore"):
                    image = image.astype(dtype)
                if not np.isfinite(image).all():
                    raise DatasetError(f"a texture of class {source.classes[label]} is too large for {dtype}")
                yield Texture(image, label, source.length_scales(label))

    labels = list(range(len(classes))) * per_class
    return store_source(
        out, source, labels, textures(), split=split, shard_size=shard_size, compression=compression, progress=progress
    )


def _check(scales: Sequence[Sequence[float]], weights: Sequence[float]) -> None:
    if len(scales) < 1 or any(len(choices) < 1 for choices in scales):
        raise GptexError("give the length scales of at least one component")
    if len(weights) != len(scales):
        raise GptexError(f"there are {len(weights)} weights for {len(scales)} components")
    if not all(math.isfinite(weight) for weight in weights):
        raise GptexError("weights are finite")
    flat = [scale for choices in scales for scale in choices]
    for scale in flat:
        if flat.count(scale) > 1:
            raise GptexError(f"length scale {scale_name(scale)} stands twice: each sample is used once")


def _places(folder: Path, manifest: Manifest, split: str) -> dict[float, list[_Place]]:
    """The samples of each length scale, in their order."""
    if split not in manifest.splits:
        raise GptexError(f"{folder} has no split {split!r}: there are {', '.join(manifest.splits)}")
    places: dict[float, list[_Place]] = {}
    for shard in sorted((shard for shard in manifest.shards if shard.split == split), key=lambda shard: shard.first):
        with open_shard(folder / shard.file) as file:
            for row, (scale,) in enumerate(file["length_scales"][()].tolist()):
                places.setdefault(scale, []).append(_Place(folder / shard.file, row))
    return places


def _per_class(folder: Path, places: dict[float, list[_Place]], scales: Sequence[Sequence[float]], sizes: list[int]) -> int:
    """Textures of each class: as many as the length scale with the fewest samples allows."""
    most = {}
    for component, choices in enumerate(scales):
        classes = math.prod(_without(sizes, component))  # that have each of these length scales
        for scale in choices:
            if scale not in places:
                there = ", ".join(map(scale_name, sorted(places)))
                raise DatasetError(f"{folder} has no samples of length scale {scale_name(scale)}: there are {there}")
            most[scale] = len(places[scale]) // classes
            if not most[scale]:
                raise DatasetError(
                    f"{folder} has {counted(len(places[scale]), 'sample')} of length scale {scale_name(scale)}, fewer than the "
                    f"{classes} classes that need one"
                )
    return min(most.values())


def _without(values: Sequence[int], place: int) -> list[int]:
    return [*values[:place], *values[place + 1 :]]


def _choices(label: int, sizes: Sequence[int]) -> tuple[int, ...]:
    """Which length scale each component has in class `label`; the first component changes fastest."""
    return tuple(int(n) for n in np.unravel_index(label, sizes, order="F"))


def _label(choices: Sequence[int], sizes: Sequence[int]) -> int:
    """The inverse of `_choices`."""
    return int(np.ravel_multi_index(tuple(choices), tuple(sizes), order="F")) if sizes else 0


def _read(place: _Place) -> Any:
    with open_shard(place.file) as file:
        return file["images"][place.row].astype(np.float64)


def _origin(contents: Recipe | Source, manifest: Manifest) -> dict[str, Any]:
    """Where the samples come from."""
    if isinstance(contents, Recipe):
        return {"samples": {"recipe": contents.name, "recipe_sha256": manifest.recipe_sha256}}
    return {"samples": contents.origin}
