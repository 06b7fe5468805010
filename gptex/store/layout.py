"""Into which shards a split is cut. It depends on the counts and the shard size alone, never on who writes them."""

from __future__ import annotations

from gptex.errors import GptexError
from gptex.store.shard import Compression, ShardPlan

SHARD_BYTES = 256 * 2**20
SHARDS = 8  # of a split at least, so that workers can share it …
SMALL_SHARD_BYTES = 32 * 2**20  # … where that makes them no smaller than this
MOST_SHARDS = 1_000_000


def cut(
    split: str,
    count: int,
    texture_bytes: int,
    *,
    shard_size: int = SHARD_BYTES,
    compression: Compression = "none",
    first: int = 0,
    number: int = 0,
) -> list[ShardPlan]:
    """Equal shards of at most `shard_size` bytes for `count` textures, at least one texture each.

    A split that would make few large shards is cut into up to eight, of at least 32 MiB.

    Parameters
    ----------
    first, number : int
        Index of the first texture and number of the first shard: what is there already comes before.

    Raises
    ------
    GptexError
        For a shard size below 1, a compression that does not exist, or more than a million shards.
    """
    if shard_size < 1:
        raise GptexError(f"a shard holds at least one byte, not {shard_size}")
    if compression not in ("none", "gzip", "lzf"):
        raise GptexError(f"compression is none, gzip or lzf, not {compression!r}")
    capacity = max(1, shard_size // texture_bytes)
    pieces = max(-(-count // capacity), min(SHARDS, count, count * texture_bytes // SMALL_SHARD_BYTES))
    if pieces > MOST_SHARDS:
        raise GptexError(f"split {split!r} would be {pieces} shards, of {MOST_SHARDS} at most: use a larger shard size")
    return [
        ShardPlan(
            f"{split}/{number + piece:05d}.h5",
            split,
            first + count * piece // pieces,
            count * (piece + 1) // pieces - count * piece // pieces,
            compression,
        )
        for piece in range(pieces)
    ]
