"""Into which shards a split is cut: none empty, none too large, all of about one size."""

from __future__ import annotations

import pytest

from gptex import GptexError
from gptex.store.layout import cut

MIB = 2**20


@pytest.mark.parametrize("count", [1, 2, 3, 7, 100])
@pytest.mark.parametrize("texture_bytes", [1, 4 * MIB, 64 * MIB, 600 * MIB])
@pytest.mark.parametrize("shard_size", [1, 32 * MIB, 256 * MIB])
def test_every_texture_is_in_one_shard_and_no_shard_is_empty_or_too_large(count, texture_bytes, shard_size):
    plans = cut("train", count, texture_bytes, shard_size=shard_size, first=5, number=2)
    assert [plan.file for plan in plans] == [f"train/{2 + n:05d}.h5" for n in range(len(plans))]
    assert [i for plan in plans for i in range(plan.first, plan.first + plan.count)] == list(range(5, 5 + count))
    assert all(plan.count == 1 or plan.count * texture_bytes <= shard_size for plan in plans)
    assert min(plan.count for plan in plans) >= 1
    assert max(plan.count for plan in plans) - min(plan.count for plan in plans) <= 1


def test_no_textures_make_no_shards():
    assert cut("train", 0, 4 * MIB) == []


def test_a_large_split_makes_eight_shards_before_they_grow():
    assert [plan.count for plan in cut("train", 64, 4 * MIB)] == [8] * 8
    assert len(cut("train", 4, 4 * MIB)) == 1, "16 MiB are not worth two shards"
    assert len(cut("train", 1000, 4 * MIB)) == 16


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"shard_size": 0}, "at least one byte"), ({"compression": "zip"}, "none, gzip or lzf"), ({"shard_size": 1}, "larger")],
)
def test_what_cannot_be_cut_is_refused(options, problem):
    with pytest.raises(GptexError, match=problem):
        cut("train", 2_000_000, 4, **options)
