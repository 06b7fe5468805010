"""ShardShuffle: every index once an epoch, another order each epoch, few shards at a time, shared by ranks, resumed."""

import pickle
from itertools import pairwise

import numpy as np
import pytest
from torch.utils.data import Subset

from gptex import GptexError, RecipeDataset, RecipeError, ShardShuffle, TextureDataset


@pytest.fixture(scope="module")
def dataset(folder):
    """40 textures in 8 shards."""
    return TextureDataset(folder)


def test_each_epoch_is_a_permutation_and_another_one(dataset):
    order = ShardShuffle(dataset)
    epochs = [list(order) for _ in range(4)]
    assert all(sorted(epoch) == list(range(40)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4
    assert list(range(40)) not in epochs
    assert type(epochs[0][0]) is int


def test_an_order_depends_on_seed_and_epoch_alone(dataset):
    first, second = list(ShardShuffle(dataset, seed=7)), ShardShuffle(dataset, seed=7)
    assert list(second) == first
    list(second)
    second.set_epoch(0)
    assert list(second) == first
    assert list(pickle.loads(pickle.dumps(ShardShuffle(dataset, seed=7)))) == first
    assert list(ShardShuffle(dataset, seed=8)) != first


def test_an_order_is_the_same_on_every_machine(dataset):
    """The bits of PCG64 are numpy's promise; its own permutations are not."""
    assert list(ShardShuffle(dataset, seed=1, mix=2))[:8] == [13, 11, 27, 10, 26, 28, 29, 12]


def test_a_pass_that_is_broken_off_is_a_pass(dataset):
    order, other = ShardShuffle(dataset), ShardShuffle(dataset)
    next(iter(order))
    list(other)
    assert list(order) == list(other)


@pytest.mark.parametrize("mix", [1, 2, 3, 8, 100])
def test_groups_come_from_few_shards(dataset, mix):
    epoch = np.array(list(ShardShuffle(dataset, mix=mix)))
    for first in range(0, 40, 5 * mix):
        assert len(set(epoch[first : first + 5 * mix] // 5)) <= mix
    inside = np.array([len(set(epoch[i : i + 5] // 5)) for i in range(0, 40, 5)])
    assert (inside == 1).all() if mix == 1 else (inside > 1).any()


def test_all_orders_of_shards_and_textures_are_about_as_likely(dataset):
    order = ShardShuffle(dataset, mix=2)
    heads = np.array([next(iter(order)) for _ in range(4000)])
    counts = np.bincount(heads, minlength=40)
    assert ((counts - 100) ** 2 / 100).sum() < 73  # chi-square of 39 degrees of freedom, p = 0.001


@pytest.mark.parametrize(
    ("world", "drop_last", "each"), [(2, False, 20), (3, False, 14), (3, True, 13), (7, True, 5), (41, True, 0)]
)
def test_ranks_are_disjoint_and_complete_but_for_what_fills_up_or_is_left_out(dataset, world, drop_last, each):
    ranks = [ShardShuffle(dataset, rank=rank, world_size=world, drop_last=drop_last) for rank in range(world)]
    assert [len(rank) for rank in ranks] == [each] * world
    shares = [list(rank) for rank in ranks]
    assert [len(share) for share in shares] == [each] * world
    seen = [index for share in shares for index in share]
    if drop_last:
        assert len(set(seen)) == len(seen) == 40 // world * world
    else:
        assert set(seen) == set(range(40))
        alone = list(ShardShuffle(dataset))
        together = [share[i] for i in range(each) for share in shares]
        assert together == alone + alone[: each * world - 40]


def test_more_ranks_than_items_are_filled_up(dataset):
    few = Subset(dataset, [3, 8])
    shares = [list(ShardShuffle(few, rank=rank, world_size=5)) for rank in range(5)]
    assert [len(share) for share in shares] == [1] * 5
    assert {share[0] for share in shares} == {0, 1}


@pytest.mark.parametrize("world", [1, 2])
def test_an_epoch_that_is_resumed_twice_gives_the_rest_exactly(dataset, world):
    order = ShardShuffle(dataset, seed=5, rank=world - 1, world_size=world)
    order.set_epoch(3)
    whole = list(order)
    following = list(order)
    resumed = ShardShuffle(dataset, seed=5, rank=world - 1, world_size=world)
    resumed.set_epoch(3, start=7)
    assert len(resumed) == 40 // world - 7
    iterator = iter(resumed)
    again = [next(iterator) for _ in range(6)]
    resumed.set_epoch(3, start=13)
    again += list(resumed)
    assert again == whole[7:]
    assert (resumed.epoch, resumed.start, len(resumed)) == (4, 0, 40 // world)
    assert list(resumed) == following
    resumed.set_epoch(3, start=40 // world)
    assert list(resumed) == []


def test_a_subset_is_shuffled_by_the_shards_of_its_items(dataset):
    part = Subset(Subset(dataset, range(20, 40)), [19, 0, 1, 7, 8, 2, -2])
    positions = list(ShardShuffle(part, mix=1))
    assert sorted(positions) == list(range(7))
    shards = [(part.dataset.indices[part.indices[position]]) // 5 for position in positions]
    assert len(set(shards)) == 1 + sum(one != other for one, other in pairwise(shards)) == 3


def test_datasets_without_shards_are_shuffled_as_a_whole(recipe):
    order = ShardShuffle(RecipeDataset(recipe))
    assert sorted(order) == list(range(40))
    assert list(ShardShuffle(RecipeDataset(recipe, length=0))) == []


def test_what_cannot_be_is_refused(dataset):
    for options in ({"mix": 0}, {"rank": 1}, {"rank": -1}, {"rank": 2, "world_size": 2}):
        with pytest.raises(GptexError, match="mix is at least 1 and rank is below world_size"):
            ShardShuffle(dataset, **options)
    for epoch, start in [(-1, 0), (0, 41), (0, -1)]:
        with pytest.raises(GptexError, match="has 40 items"):
            ShardShuffle(dataset).set_epoch(epoch, start)
    with pytest.raises(RecipeError, match="seed"):
        ShardShuffle(dataset, seed=-1)
