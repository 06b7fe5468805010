"""How to train: a config is all that the numbers of a run depend on, besides the textures and the machine."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Self

from pydantic import Field, field_validator, model_validator

from gptex.errors import GptexError
from gptex.learn.parts import check_part, share_of
from gptex.learn.regularizers import Regularizer
from gptex.recipe.model import Model

LARGEST = 1e6  # of rates: beyond, torch has no number for a step
MOST_CHANNELS = 4096
Count = Annotated[int, Field(ge=1, lt=2**31)]


class Config(Model):
    """The config of a run.

    Attributes
    ----------
    model : {"paper", "small", "tiny", "custom"}
        See `gptex.learn.models.classifier`; "custom" stands for a net of one's own.
    channels : int, optional
        Of each convolution, if not the model's own number.
    regularizer : Regularizer
        Or its text: ``"backdrop:fine=0.3,coarse=0.95"``.
    train : str
        A split, or the first so many textures of it: ``"train"``, ``"train:100"``.
    val, test : str, optional
        The same, or a share of `train` that is then not trained on, the classes in proportion: ``"0.2"``. By default the split
        of that name if the data count one, else none.
    epochs, batch_size : int
        A batch is that of all processes together. What is left over of an epoch after the last whole batch is left out.
    optimizer : {"adam", "adamw", "sgd"}
        SGD with momentum 0.9.
    lr : float
    schedule : {"constant", "cosine"}
        Cosine falls from `lr` to 0, which it would reach after the last epoch.
    warmup : int
        Epochs in which the learning rate rises to `lr`.
    weight_decay : float
    seed : int
        Of the weights, the order of textures, and the masks.
    amp : {"none", "bf16", "fp16"}
        Automatic mixed precision.

    Raises
    ------
    GptexError
        For unknown keys and values out of range.
    """

    model: Literal["paper", "small", "tiny", "custom"] = "small"
    channels: Annotated[int, Field(ge=1, le=MOST_CHANNELS)] | None = None
    regularizer: Regularizer = Regularizer()
    train: str = "train"
    val: str | None = None
    test: str | None = None
    epochs: Count = 100
    batch_size: Count = 5
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = Field(1e-3, gt=0, le=LARGEST)
    schedule: Literal["constant", "cosine"] = "constant"
    warmup: int = Field(0, ge=0)
    weight_decay: float = Field(0.0, ge=0, le=LARGEST)
    seed: int = Field(0, ge=0, lt=2**128)
    amp: Literal["none", "bf16", "fp16"] = "none"

    @field_validator("regularizer", mode="before")
    @classmethod
    def _parsed(cls, regularizer: Any) -> Any:
        return Regularizer.parse(regularizer) if isinstance(regularizer, str) else regularizer

    @field_validator("train", "val", "test")
    @classmethod
    def _part(cls, text: str | None) -> str | None:
        return text if text is None else check_part(text)

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if share_of(self.train) is not None:
            raise GptexError(f"train is a split such as train or train:100, not {self.train!r}")
        if self.model == "custom" and (self.regularizer.method not in ("none", "crop") or self.channels):
            raise GptexError("a net of one's own has its own channels and layers: of the regularizers only crop can be added")
        return self

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch, counted from 0.

        >>> config = Config(epochs=3, lr=1, schedule="cosine", warmup=2)
        >>> [round(config.rate(epoch), 2) for epoch in range(3)]
        [0.33, 0.5, 0.25]
        """
        rate = self.lr * min(1.0, (epoch + 1) / (self.warmup + 1))
        if self.schedule == "cosine":
            rate *= (1 + math.cos(math.pi * epoch / self.epochs)) / 2
        return rate
