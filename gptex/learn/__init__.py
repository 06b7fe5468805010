"""Everything torch: datasets, backdrop and its losses, training and comparison. Needs torch, the extra `torch`."""

from gptex.errors import MissingExtraError

try:
    import torch  # noqa: F401
except ModuleNotFoundError:
    raise MissingExtraError("learning needs torch, which the extra gptex[torch] brings: pip install torch") from None

from gptex.learn.backdrop import Backdrop, backdrop, mask_gradient
from gptex.learn.comparison import Comparison, compare
from gptex.learn.config import Config
from gptex.learn.datasets import LabelledTextures, RecipeDataset, TextureDataset, open
from gptex.learn.device import DeviceBatch, DeviceTextures
from gptex.learn.evaluation import evaluate
from gptex.learn.gradients import plot_gradient_reach
from gptex.learn.losses import auc_loss, soft_f_beta_loss
from gptex.learn.memory import keep_memory
from gptex.learn.parts import split
from gptex.learn.regularizers import Regularizer
from gptex.learn.scores import Score
from gptex.learn.shuffle import ShardShuffle
from gptex.learn.stream import RecipeStream
from gptex.learn.training import Result, train

__all__ = [
    "Backdrop",
    "Comparison",
    "Config",
    "DeviceBatch",
    "DeviceTextures",
    "LabelledTextures",
    "RecipeDataset",
    "RecipeStream",
    "Regularizer",
    "Result",
    "Score",
    "ShardShuffle",
    "TextureDataset",
    "auc_loss",
    "backdrop",
    "compare",
    "evaluate",
    "keep_memory",
    "mask_gradient",
    "open",
    "plot_gradient_reach",
    "soft_f_beta_loss",
    "split",
    "train",
]
