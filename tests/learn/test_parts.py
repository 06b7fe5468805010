"""gptex.split and the parts of a training: disjoint, with the classes in proportion, the same for the same seed."""

from collections import Counter

import numpy as np
import pytest
import torch

import gptex
from gptex import GptexError, RecipeDataset, TextureDataset
from gptex.learn.parts import check_part, share_of, training_parts


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


# -- the parts of a training


@pytest.fixture(params=["folder", "recipe"])
def source(request):
    """The same 40 textures of `train` and 8 of `val`, as files and as a recipe."""
    return request.getfixturevalue(request.param)


def hashes(part):
    """The images of a part, which are all different, in its order."""
    return [part[index][0].numpy().tobytes() for index in range(len(part))]


def counts(part):
    return Counter(part[index][1] for index in range(len(part)))


def test_by_default_each_part_is_the_split_of_its_name_if_there_is_one(source):
    parts = training_parts(source)
    assert {name: len(part) for name, part in parts.items()} == {"train": 40, "val": 8}
    val = TextureDataset(source, "val") if not isinstance(source, gptex.Recipe) else RecipeDataset(source, "val")
    assert hashes(parts["val"]) == hashes(val)


def test_a_part_may_be_the_first_so_many_textures_of_a_split(source):
    parts = training_parts(source, "train:12", test="val:4", val="0.25")
    train = hashes(training_parts(source)["train"])
    assert {name: len(part) for name, part in parts.items()} == {"train": 9, "val": 3, "test": 4}
    assert sorted(hashes(parts["train"]) + hashes(parts["val"])) == sorted(train[:12])
    assert hashes(parts["test"]) == hashes(training_parts(source)["val"])[:4]


def test_a_recipe_has_splits_without_end_and_a_folder_has_not(recipe, folder):
    parts = training_parts(recipe, "train:100", "other:3", "another:2")
    assert [len(part) for part in parts.values()] == [100, 3, 2]
    assert not {*hashes(parts["val"])} & {*hashes(parts["test"])}
    for options, says in (({"train": "train:41"}, "has 40 textures, not 41"), ({"val": "other:3"}, "has no split 'other'")):
        with pytest.raises(GptexError, match=says):
            training_parts(folder, **options)
    with pytest.raises(GptexError, match="does not count split 'other'"):
        training_parts(recipe, val="other")


def test_shares_are_disjoint_complete_and_have_the_classes_in_proportion(source):
    parts = training_parts(source, val="0.2", test="0.3")
    assert {name: len(part) for name, part in parts.items()} == {"train": 20, "val": 8, "test": 12}
    together = [each for part in parts.values() for each in hashes(part)]
    assert len(set(together)) == 40
    assert sorted(together) == sorted(hashes(training_parts(source)["train"]))
    assert counts(parts["train"]) == dict.fromkeys(range(4), 5)
    assert counts(parts["val"]) == dict.fromkeys(range(4), 2)
    assert counts(parts["test"]) == dict.fromkeys(range(4), 3)


def test_shares_are_the_same_of_files_and_recipe_but_not_the_first_textures(folder, recipe):
    drawn = [hashes(training_parts(source, val="0.2")["val"]) for source in (folder, recipe)]
    assert drawn[0] == drawn[1] != hashes(training_parts(folder)["train"])[: len(drawn[0])]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"val": "train"}, "split 'train' cannot serve for two"),
        ({"train": "train:10", "test": "train:5"}, "split 'train' cannot serve for two"),
        ({"test": "val"}, "split 'val' cannot serve for two"),
        ({"train": "val"}, "split 'val' cannot serve for two"),
        ({"val": "0.5", "test": "0.5"}, "val and test leave nothing to train on"),
        ({"val": "0.7", "test": "0.6"}, "leave nothing to train on"),
        ({"train": "train:0"}, "no textures for train"),
        ({"val": "val:0"}, "no textures for val"),
        ({"train": "train:4", "test": "0.001"}, "no textures for test"),
        ({"train": "nowhere"}, "nowhere"),
        ({"val": "no/name"}, "a split's name"),
        ({"train": "0.5"}, "split"),
    ],
    ids=str,
)
def test_parts_that_cannot_be_are_refused(source, options, says):
    with pytest.raises(GptexError, match=says):
        training_parts(source, **options)


@pytest.mark.parametrize("text", ["train", "train:0", "train:100", "a-b_1:7", "0.2", ".2", "0.999"])
def test_a_text_that_names_a_part_is_kept(text):
    assert check_part(text) == text


@pytest.mark.parametrize(
    "text", ["", ":3", "train:", "train:x", "train:-1", "train:1.5", "a:1:2", "a/b", "1.0", "0.0", "-0.2", "1.2"]
)
def test_a_text_that_names_none_is_refused(text):
    with pytest.raises(GptexError, match="split"):
        check_part(text)


@pytest.mark.parametrize(
    ("text", "share"), [("0.2", 0.2), (".25", 0.25), ("0.", None), ("0.0", None), ("1.0", None), ("train", None), ("2", None)]
)
def test_the_share_of_a_text(text, share):
    assert share_of(text) == share
