"""Parts of a dataset, for training, for validation and for a test."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import numpy as np
from torch.utils.data import Dataset, Subset

from gptex.errors import GptexError
from gptex.fields.streams import check_seed, stream
from gptex.learn.datasets import Item, LabelledTextures, open
from gptex.learn.shuffle import permutation
from gptex.recipe import Recipe
from gptex.recipe.names import check_split
from gptex.store.source import Contents

GOLDEN = (5**0.5 - 1) / 2
SHARE = re.compile(r"0?\.\d{1,15}")
COUNTED = re.compile(r"([^:]*)(?::(\d{1,18}))?")


def split(dataset: LabelledTextures, parts: Mapping[str, float], seed: int = 0) -> dict[str, Subset[Item]]:
    """Cut a dataset into disjoint parts at random, each with the classes in the same proportions.

    Parameters
    ----------
    dataset : LabelledTextures
    parts : dict of str to float
        Share of each part, 1 in all at most.
    seed : int
        The same seed cuts in the same way.

    Returns
    -------
    dict of str to Subset
        Items in the order of the dataset. What does not divide is rounded up in some classes and down in others, and no item
        is lost when the shares add up to 1.

    Raises
    ------
    GptexError
        For shares that are negative or more than 1 in all.
    """
    shares = list(parts.values())
    if not shares or not (min(shares) >= 0 and sum(shares) <= 1 + 1e-9):
        raise GptexError(f"the shares of the parts are positive and 1 in all at most, not {dict(parts)}")
    targets = np.array(dataset.targets)
    bounds = np.concatenate([[0], np.cumsum(shares)])
    bits = stream(check_seed(seed))
    rounding = bits.random_raw() / 2**64
    chosen: dict[str, list[int]] = {name: [] for name in parts}
    for label in np.unique(targets):
        members = np.flatnonzero(targets == label)
        members = members[permutation(bits, len(members))]
        rounding = (rounding + GOLDEN) % 1  # up here, down there: multiples of the golden ratio spread evenly
        cuts = (np.round(bounds * len(members), 6) + rounding).astype(int)
        for name, first, last in zip(parts, cuts, cuts[1:], strict=False):
            chosen[name] += members[first:last].tolist()
    return {name: Subset(dataset, sorted(indices)) for name, indices in chosen.items()}


def training_parts(
    source: Recipe | str | Path, train: str = "train", val: str | None = None, test: str | None = None
) -> dict[str, Dataset[Item]]:
    """The parts of a source to train on, to validate on and to test on.

    Parameters
    ----------
    source : Recipe, str or path
        A dataset's folder, a recipe, its file or a preset's name.
    train : str
        A split, ``"train"``, or the first so many textures of it, ``"train:100"``. Those of a recipe have no end.
    val, test : str, optional
        The same; or a share, ``"0.2"``, of what `train` names, the classes in proportion, which is then not trained on; the
        same textures in all runs. By default the split of that name if the source counts one, else there is no such part.

    Returns
    -------
    dict of str to Dataset
        `train`, and `val` and `test` if there are such.

    Raises
    ------
    GptexError
        If the source has no such split or fewer textures, two parts are of the same split, or a part is empty.
    """
    whole = _first_of(source, train)
    asked = {name: text or (name if name in whole.splits else None) for name, text in (("val", val), ("test", test))}
    shares = {name: share for name, text in asked.items() if text and (share := share_of(text))}
    parts: dict[str, Dataset[Item]] = {"train": whole}
    if shares:
        if sum(shares.values()) >= 1:
            raise GptexError(f"{' and '.join(shares)} leave nothing to train on")
        parts = dict(split(whole, {"train": 1 - sum(shares.values()), **shares}))
    others = {name: text for name, text in asked.items() if text and name not in shares}
    names = [check_part(text).partition(":")[0] for text in [train, *others.values()]]
    for name in names:
        if names.count(name) > 1:
            raise GptexError(f"split {name!r} cannot serve for two of train, val and test: use shares of it")
    parts |= {name: _first_of(source, text) for name, text in others.items()}
    for name, part in parts.items():
        if not len(part):  # type: ignore[arg-type]
            raise GptexError(f"there are no textures for {name}: {train} has {len(whole)} in all")
    return parts


def contents_of(part: Dataset[Item]) -> Contents:
    """What the dataset is that `part` is a part of, or all of."""
    return cast("LabelledTextures", part.dataset if isinstance(part, Subset) else part).contents


def check_part(text: str) -> str:
    """`text`, if it names a split, the first so many textures of one, or a share; else GptexError."""
    if share_of(text) is None:
        match = COUNTED.fullmatch(text)
        if not match or "." in text:
            raise GptexError(
                f"{text!r} is no split such as train, part of one such as train:100, or share between 0 and 1 such as 0.2"
            )
        check_split(match[1])
    return text


def share_of(text: str) -> float | None:
    """The share that a text such as 0.2 stands for; None if it is none."""
    return (float(text) or None) if SHARE.fullmatch(text) else None


def _first_of(source: Recipe | str | Path, part: str) -> LabelledTextures:
    """The split, or its first textures, that `part` names."""
    name, _, count = check_part(part).partition(":")
    return open(source, name, length=int(count) if count else None)
