"""Parts of a dataset, for training and for validation."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch.utils.data import Subset

from gptex.errors import GptexError
from gptex.fields.streams import check_seed, stream
from gptex.learn.datasets import Item, LabelledTextures
from gptex.learn.shuffle import permutation

GOLDEN = (5**0.5 - 1) / 2


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
