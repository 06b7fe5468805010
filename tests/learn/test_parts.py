"""gptex.split: disjoint parts with the classes in proportion, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
import torch

import gptex
from gptex import GptexError, RecipeDataset, TextureDataset


def classes(part):
    return Counter(part.dataset.targets[index] for index in part.indices)


def test_parts_are_disjoint_complete_and_in_order(folder):
    dataset = TextureDataset(folder)
    parts = gptex.split(dataset, {"train": 0.6, "val": 0.3, "test": 0.1})
    assert list(parts) == ["train", "val", "test"]
    assert sorted(index for part in parts.values() for index in part.indices) == list(range(40))
    assert all(part.indices == sorted(part.indices) for part in parts.values())
    assert torch.equal(parts["val"][0][0], dataset[parts["val"].indices[0]][0])


def test_each_part_has_the_classes_in_proportion(folder):
    parts = gptex.split(TextureDataset(folder), {"train": 0.8, "val": 0.2}, seed=3)
    assert classes(parts["train"]) == dict.fromkeys(range(4), 8)
    assert classes(parts["val"]) == dict.fromkeys(range(4), 2)


@pytest.mark.parametrize("seed", range(5))
def test_what_does_not_divide_is_rounded_up_in_some_classes_and_down_in_others(recipe, seed):
    many = recipe.replace(components=[recipe.components[0].replace(length_scales=np.linspace(1, 2, 50).tolist())])
    dataset = RecipeDataset(many, length=50)  # one texture of each class
    parts = gptex.split(dataset, {"train": 0.7, "val": 0.2, "test": 0.1}, seed)
    for name, expected in {"train": 35, "val": 10, "test": 5}.items():
        assert abs(len(parts[name]) - expected) <= 2
    dataset = RecipeDataset(recipe, length=40)
    for part, share in zip(gptex.split(dataset, {"a": 0.85, "b": 0.15}, seed).values(), (8.5, 1.5), strict=True):
        assert all(abs(count - share) < 1 for count in classes(part).values())
        assert abs(len(part) - 4 * share) <= 1


def test_a_seed_cuts_in_one_way_and_another_in_another(recipe):
    def cut(seed):
        return gptex.split(RecipeDataset(recipe), {"a": 0.5, "b": 0.5}, seed)["a"].indices

    assert cut(1) == cut(1) != cut(2)
    assert cut(1) != list(range(20))


def test_shares_may_leave_some_out_and_many_tenths_lose_none(recipe):
    dataset = RecipeDataset(recipe, length=4000)
    assert len(gptex.split(dataset, {"few": 0.01})["few"]) == 40
    parts = gptex.split(dataset, {str(n): 0.1 for n in range(10)})
    assert [len(part) for part in parts.values()] == [400] * 10
    assert gptex.split(dataset, {"none": 0.0})["none"].indices == []


@pytest.mark.parametrize("shares", [{}, {"a": -0.1}, {"a": 0.8, "b": 0.3}, {"a": float("nan")}])
def test_shares_that_cannot_be_are_refused(recipe, shares):
    with pytest.raises(GptexError, match="shares"):
        gptex.split(RecipeDataset(recipe), shares)
