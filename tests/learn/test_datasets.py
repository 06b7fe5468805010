"""Datasets: items as torchvision has taught people, from a folder and from a recipe alike."""

import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.utils.data import Subset

import gptex
from gptex import Component, DatasetError, GptexError, Recipe, RecipeDataset, RecipeError, TextureDataset
from gptex.learn.datasets import Kept, in_memory


@pytest.fixture(params=["folder", "recipe"])
def dataset(request, folder, recipe):
    """A function that makes the dataset with options, once from the files and once from the recipe."""
    source = {"folder": (TextureDataset, folder), "recipe": (RecipeDataset, recipe)}[request.param]
    return lambda *args, **options: source[0](source[1], *args, **options)


def made(recipe, folder, **options):
    gptex.generate(recipe, folder, executor=ThreadPoolExecutor(1), progress=False, **options)
    return folder


# -- items


def test_an_item_is_a_float32_image_with_a_channel_and_an_int_label(dataset, arrays):
    small = dataset()
    assert len(small) == 40
    for index in (0, 7, 39):
        image, label = small[index]
        assert image.dtype == torch.float32
        assert image.shape == (1, 24, 17)
        np.testing.assert_array_equal(image[0].numpy(), arrays[0][index])
        assert type(label) is int
        assert label == arrays[1][index]


def test_the_target_may_be_the_length_scales_or_both(dataset, arrays):
    scales = dataset(target="scales")[6][1]
    assert scales.dtype == torch.float32
    assert scales.tolist() == arrays[2][6].tolist()
    both = dataset(target="both")[6][1]
    assert both["label"] == arrays[1][6]
    assert torch.equal(both["scales"], scales)
    with pytest.raises(GptexError, match="target is label, scales or both, not 'labels'"):
        dataset(target="labels")


def test_transforms_see_what_there_would_be_without_them(dataset):
    plain = dataset(target="both")[3]
    image, target = dataset("train", lambda image: image.mean(), lambda target: target["label"] + 100, target="both")[3]
    assert image == plain[0].mean()
    assert target == plain[1]["label"] + 100


def test_an_item_may_be_written_to_and_is_as_before_when_it_is_read_again(dataset):
    small = dataset()
    before = small[0][0].clone()
    small[0][0].zero_()
    assert torch.equal(small[0][0], before)


def test_batches_are_items(dataset):
    small = dataset()
    for order in ([3, 3, 39, -1, 0], np.arange(4), torch.arange(3), range(5), []):
        items = small.__getitems__(order)
        assert [label for _, label in items] == [small[int(i)][1] for i in order]
        assert all(torch.equal(image, small[int(i)][0]) for (image, _), i in zip(items, order, strict=True))


def test_indices_are_those_of_a_list(dataset):
    small = dataset()
    for index in (np.int64(38), -2, torch.tensor(38)):
        assert torch.equal(small[index][0], small[38][0])
    for index in (40, -41, 2**80):
        with pytest.raises(IndexError, match=f"no texture {index}: split 'train' has 40"):
            small[index]
    for index in (1.0, "1", None, slice(3), np.array(2.0)):
        with pytest.raises(TypeError):
            small[index]
    assert len(list(small)) == 40  # which ends with the IndexError


def test_a_subset_is_a_slice(dataset):
    part = Subset(dataset(), range(10, 20))
    assert len(part) == 10
    assert torch.equal(part[2][0], dataset()[12][0])
    assert [label for _, label in part.__getitems__([0, 5])] == [2, 3]


# -- what a dataset says of itself


def test_a_dataset_names_its_classes_targets_shape_and_recipe(dataset, recipe, arrays):
    small = dataset()
    assert small.classes == recipe.classes == ("1-5", "1.5-5", "1-8", "1.5-8")
    assert small.class_to_idx == {"1-5": 0, "1.5-5": 1, "1-8": 2, "1.5-8": 3}
    assert small.targets == arrays[1].tolist()
    assert type(small.targets[0]) is int
    assert small.shape == (24, 17)
    assert small.recipe == recipe
    assert dataset("val").targets == [0, 1, 2, 3] * 2


def test_its_repr_reads_like_a_small_data_card(folder, recipe):
    assert repr(TextureDataset(folder, "val", target="both")) == (
        "TextureDataset 'small', split 'val'\n"
        f"    8 textures of 24 × 17 pixels, in 2 shards in {folder}\n"
        "    4 classes: 1-5, 1.5-5, 1-8, 1.5-8\n"
        "    target: both"
    )
    assert "drawn when they are asked for" in repr(RecipeDataset(recipe))
    many = Component(name="many", length_scales=range(1, 20), boundary="open")
    assert "19 classes: 1, 2, 3, 4, 5, 6, 7, 8, …" in repr(
        RecipeDataset(Recipe(name="many", shape=[8], components=[many]), length=3)
    )


@pytest.mark.parametrize(("shape", "drawn"), [((50,), "lines"), ((24, 17), "images"), ((12, 14, 16), "images")])
def test_a_texture_is_plotted_whatever_its_axes(shape, drawn):
    recipe = Recipe(name="plots", shape=shape, components=[Component(name="only", length_scales=[2, 3], boundary="open")])
    (axes,) = RecipeDataset(recipe, length=4).plot(-1).axes
    assert axes.get_title() == "train -1, label 1: 3"
    (shown,) = getattr(axes, drawn)
    assert np.asarray(shown.get_ydata() if drawn == "lines" else shown.get_array()).shape == shape[-2:]


def test_a_pickle_is_small_after_access(dataset):
    small = dataset()
    before = len(pickle.dumps(small))
    _, _ = small[5], small.targets
    after = pickle.dumps(small)
    assert len(after) == before < 5000
    assert torch.equal(pickle.loads(after)[5][0], small[5][0])


# -- other folders


@pytest.mark.parametrize("dtype", ["float16", "float64"])
def test_items_are_float32_whatever_is_stored(tmp_path, dtype):
    only = Component(name="only", length_scales=[2])
    recipe = Recipe(name="other", shape=[32, 32], dtype=dtype, components=[only], splits={"train": 3})
    dataset = TextureDataset(made(recipe, tmp_path / "other", compression="lzf"))
    for index in range(3):
        expected = recipe.texture("train", index).image
        assert expected.dtype == dtype
        assert dataset[index][0].dtype == torch.float32
        np.testing.assert_array_equal(dataset[index][0][0].numpy(), expected.astype("float32"))


def test_imported_textures_have_the_labels_of_their_file_and_no_recipe(tmp_path):
    labels = [2, 0, 0, 1, 2, 2, 1]
    images = np.random.default_rng(0).normal(size=(7, 16, 12)).astype("float32")
    pairs = [list(pair) for pair in zip(images, labels, strict=True)]
    (tmp_path / "set.gp").write_bytes(pickle.dumps([pairs, {0: "3-20", 1: "4-20", 2: "3-30"}]))
    gptex.import_legacy(tmp_path / "set.gp", tmp_path / "out", shard_size=2 * images[0].nbytes, progress=False)
    dataset = gptex.open(tmp_path / "out", target="both")
    assert (dataset.recipe, dataset.targets, dataset.classes) == (None, labels, ("3-20", "4-20", "3-30"))
    image, target = dataset[4]
    np.testing.assert_array_equal(image[0].numpy(), images[4])
    assert (target["label"], target["scales"].tolist()) == (2, [3, 30])
    assert len(pickle.dumps(dataset)) < 5000


def test_a_missing_shard_is_an_error_that_names_it_and_says_what_to_do(tmp_path, recipe):
    dataset = TextureDataset(made(recipe, tmp_path / "broken", shard_size=5 * recipe.texture_bytes))
    (tmp_path / "broken/train/00003.h5").unlink()
    assert dataset[14][1] == 2
    with pytest.raises(DatasetError, match=r"broken/train/00003.h5 is missing: `gptex repair .*broken` makes it again"):
        dataset[15]


def test_what_is_not_there_is_an_error_that_says_what_is(folder, recipe):
    with pytest.raises(GptexError, match="has no split 'test': there are train, val"):
        TextureDataset(folder, "test")
    with pytest.raises(DatasetError, match="does not exist"):
        TextureDataset(folder / "nowhere")
    with pytest.raises(DatasetError, match=r"has no manifest.json: it is not a gptex dataset"):
        TextureDataset(folder / "train")
    with pytest.raises(GptexError, match=r"does not count split 'test' \(it counts train, val\): say how many"):
        RecipeDataset(recipe, "test")
    with pytest.raises(RecipeError, match="a split's name"):
        RecipeDataset(recipe, "no/name", length=3)
    with pytest.raises(GptexError, match="not -1"):
        RecipeDataset(recipe, length=-1)
    with pytest.raises(TypeError):
        RecipeDataset(recipe, length=2.5)


# -- recipes


def test_a_recipe_gives_what_generate_writes_bit_by_bit(folder, recipe):
    stored, drawn = (dataset.read(range(len(dataset))) for dataset in (TextureDataset(folder), RecipeDataset(recipe)))
    for mine, theirs in zip(stored, drawn, strict=True):
        assert mine.dtype == theirs.dtype
        np.testing.assert_array_equal(mine, theirs)


def test_a_longer_dataset_begins_with_the_shorter(recipe):
    short, long = RecipeDataset(recipe, length=3), RecipeDataset(recipe, length=10**12)
    assert (len(short), len(long)) == (3, 10**12)
    assert torch.equal(short[2][0], long[2][0])
    assert long[10**12 - 1][1] == 3
    assert len(RecipeDataset(recipe, "unheard", length=0)) == 0


def test_open_picks_the_dataset(folder, recipe, tmp_path, monkeypatch):
    assert isinstance(gptex.open(folder, "val"), TextureDataset)
    assert isinstance(gptex.open(str(folder)), TextureDataset)
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    for source in (recipe, tmp_path / "recipe.toml", str(tmp_path / "recipe.toml"), "golkar-cranmer-2018"):
        assert isinstance(gptex.open(source, target="scales", length=5), RecipeDataset)
    with pytest.raises(RecipeError, match="no folder, no file and no preset: did you mean 'golkar-cranmer-2018'"):
        gptex.open("golkar-cranmer-2019")
    monkeypatch.chdir(folder.parent)
    relative = gptex.open("small")
    monkeypatch.chdir("/")
    assert relative[0][1] == 0


# -- a part of a split, and what is kept in memory


def test_a_folder_may_be_cut_to_its_first_textures(folder, arrays):
    dataset = TextureDataset(folder, length=7)  # a shard and two textures of the next
    assert len(dataset) == len(list(dataset)) == 7
    assert dataset.targets == arrays[1][:7].tolist()
    np.testing.assert_array_equal(dataset.read(range(7)).images, arrays[0][:7])
    np.testing.assert_array_equal(dataset[-1][0][0].numpy(), arrays[0][6])
    with pytest.raises(IndexError, match="no texture 7: split 'train' has 7"):
        dataset[7]
    assert "7 textures" in repr(dataset)
    assert len(pickle.loads(pickle.dumps(dataset))) == 7
    assert len(TextureDataset(folder, length=40)) == 40
    assert list(TextureDataset(folder, length=0)) == []


def test_a_cut_folder_is_shuffled_and_split_without_the_rest(folder):
    dataset = TextureDataset(folder, length=7)
    assert sorted(gptex.ShardShuffle(dataset)) == list(range(7))
    parts = gptex.split(dataset, {"a": 0.5, "b": 0.5})
    assert sorted(parts["a"].indices + parts["b"].indices) == list(range(7))


@pytest.mark.parametrize("length", [-1, 41])
def test_a_folder_cannot_be_cut_to_what_it_has_not(folder, length):
    with pytest.raises(GptexError, match=f"has 40 textures, not {length}"):
        TextureDataset(folder, length=length)
    with pytest.raises(TypeError):
        TextureDataset(folder, length=2.5)


def test_a_dataset_says_which_splits_there_are(dataset, recipe):
    assert sorted(dataset().splits) == sorted(dataset("val").splits) == ["train", "val"]
    assert RecipeDataset(recipe.replace(splits={}), "any", length=1).splits == ()


def test_what_is_kept_is_the_same_and_is_not_read_again(tmp_path, recipe):
    dataset = TextureDataset(made(recipe, tmp_path / "gone"), length=9)
    kept, before = Kept(Subset(dataset, [8, 0, 3])), [dataset[index] for index in (8, 0, 3)]
    for path in (tmp_path / "gone/train").iterdir():
        path.unlink()
    assert len(kept) == 3
    for (image, label), (expected, wanted) in zip((kept[index] for index in range(3)), before, strict=True):
        assert torch.equal(image, expected)
        assert label == wanted
    assert type(kept[0][1]) is int
    with pytest.raises(IndexError):
        kept[3]


def test_parts_are_kept_if_all_of_them_together_take_no_more(dataset):
    parts = {"train": dataset(), "val": Subset(dataset("val"), range(5))}
    size = 45 * 24 * 17 * 4  # float32
    kept = in_memory(parts, size)
    assert [type(part) for part in kept.values()] == [Kept, Kept]
    assert {name: len(part) for name, part in kept.items()} == {"train": 40, "val": 5}
    assert torch.equal(kept["train"][39][0], parts["train"][39][0])
    left = in_memory(parts, size - 1)
    assert list(left) == ["train", "val"]
    assert all(left[name] is part for name, part in parts.items())
