"""Everything torch: datasets to learn from, and the ways through them. Needs torch, the extra `torch`."""

from gptex.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    raise MissingExtraError(
        "datasets to learn from need torch, which the extra gptex[torch] brings: pip install torch"
    ) from None

from gptex.learn.datasets import LabelledTextures, RecipeDataset, TextureDataset, open
from gptex.learn.device import DeviceBatch, DeviceTextures
from gptex.learn.parts import split
from gptex.learn.shuffle import ShardShuffle
from gptex.learn.stream import RecipeStream

__all__ = [
    "DeviceBatch",
    "DeviceTextures",
    "LabelledTextures",
    "RecipeDataset",
    "RecipeStream",
    "ShardShuffle",
    "TextureDataset",
    "open",
    "split",
]
