"""RecipeStream: each texture once, over all ranks and workers; other ones each epoch; the rest after a resume."""

import pickle
from collections import Counter
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gptex import GptexError, RecipeDataset, RecipeStream

pytestmark = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create:UserWarning",
    "ignore:This process .* is multi-threaded:DeprecationWarning",
)


@pytest.fixture(scope="module")
def index_of(recipe):
    """The place in the split of each of its first textures, by its pixels."""
    dataset = RecipeDataset(recipe, length=200)
    return {dataset[index][0].numpy().tobytes(): index for index in range(200)}


@pytest.fixture
def indices(index_of):
    """The places of the textures that a loader gives."""

    def find(batches):
        return [index_of[image.numpy().tobytes()] for images, _ in batches for image in images]

    return find


def test_alone_it_gives_the_textures_in_order_without_end(recipe, index_of):
    stream = RecipeStream(recipe)
    assert [index_of[image.numpy().tobytes()] for image, _ in islice(stream, 50)] == list(range(50))
    image, target = next(iter(RecipeStream(recipe, "val", lambda image: image[0], target="both")))
    np.testing.assert_array_equal(image.numpy(), recipe.texture("val", 0).image)
    assert target["label"] == 0
    assert stream.textures.classes == recipe.classes


@pytest.mark.parametrize("workers", [0, 1, 2, 3])
@pytest.mark.parametrize("world", [1, 2])
@pytest.mark.parametrize("length", [41, 48])
def test_ranks_and_workers_together_give_each_texture_once(recipe, indices, workers, world, length):
    seen = []
    for rank in range(world):
        stream = RecipeStream(recipe, length=length, rank=rank, world_size=world)
        seen += indices(DataLoader(stream, 4, num_workers=workers, multiprocessing_context="fork" if workers else None))
    assert sorted(seen) == list(range(length))


@pytest.mark.parametrize(("workers", "world"), [(2, 1), (4, 1), (1, 4), (2, 2), (3, 2), (8, 1)])
def test_each_reader_draws_from_all_classes_in_turn(recipe, workers, world):
    """Textures go through the classes in turn: readers of fixed places would meet but one of four, or two."""
    for rank in range(world):
        stream = RecipeStream(recipe, length=24 * workers * world, rank=rank, world_size=world)
        batches = list(DataLoader(stream, 12, num_workers=workers, multiprocessing_context="fork"))
        assert all(Counter(labels.tolist()) == dict.fromkeys(range(4), 3) for _, labels in batches)


def test_epochs_have_other_textures_also_where_workers_persist(recipe, indices):
    stream = RecipeStream(recipe, length=10)
    loader = DataLoader(stream, 5, num_workers=2, persistent_workers=True, multiprocessing_context="fork")
    epochs = []
    for epoch in (0, 1, 5, 0):
        stream.set_epoch(epoch)
        epochs.append(sorted(indices(loader)))
    assert epochs == [list(range(10)), list(range(10, 20)), list(range(50, 60)), list(range(10))]


@pytest.mark.slow
def test_workers_that_are_spawned_see_the_epoch(recipe, indices):
    stream = RecipeStream(recipe, length=6)
    loader = DataLoader(stream, 2, num_workers=1, persistent_workers=True, multiprocessing_context="spawn")
    for epoch in (2, 3):
        stream.set_epoch(epoch)
        assert indices(loader) == list(range(6 * epoch, 6 * epoch + 6))


@pytest.mark.parametrize("workers", [0, 2])
def test_an_epoch_that_is_resumed_twice_gives_the_rest(recipe, indices, workers):
    context = "fork" if workers else None
    stream = RecipeStream(recipe, length=40)
    stream.set_epoch(1)
    seen, start = [], 0
    for batches in (2, 4, 100):  # a multiple of the workers
        stream.set_epoch(1, start)
        seen += indices(islice(DataLoader(stream, 3, num_workers=workers, multiprocessing_context=context), batches))
        start = len(seen)
    assert sorted(seen) == list(range(40, 80))


def test_an_endless_stream_is_resumed(recipe, indices):
    stream = RecipeStream(recipe)
    stream.set_epoch(0, 100)
    assert indices(islice(DataLoader(stream, 4), 2)) == list(range(100, 108))


def test_a_pickle_is_small_and_keeps_its_place(recipe):
    stream = RecipeStream(recipe, length=10)
    stream.set_epoch(3, 4)
    first = next(iter(stream))[0]
    data = pickle.dumps(stream)
    assert len(data) < 5000
    assert torch.equal(next(iter(pickle.loads(data)))[0], first)


def test_what_cannot_be_is_refused(recipe):
    for options in ({"rank": 2, "world_size": 2}, {"rank": -1}, {"length": 0}):
        with pytest.raises(GptexError, match="rank is below world_size and length at least 1"):
            RecipeStream(recipe, **options)
    for length, place in [(None, (1, 0)), (10, (-1, 0)), (10, (0, 11)), (10, (0, -1))]:
        with pytest.raises(GptexError, match="there is no texture"):
            RecipeStream(recipe, length=length).set_epoch(*place)
    with pytest.raises(TypeError):
        RecipeStream(recipe, length=10).set_epoch(0.5)
