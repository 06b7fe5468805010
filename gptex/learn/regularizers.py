"""What keeps a net from learning its few images by heart: backdrop, and what it is compared with.

All but random crops are layers at two places of a net (see `gptex.learn.models`): after the convolutions that see the fine
scale, and after those that see the coarse one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, Self

import torch
from pydantic import Field, field_validator, model_validator
from torch import Tensor, nn
from torch.nn import functional

from gptex.errors import GptexError, nearest
from gptex.learn.backdrop import Backdrop
from gptex.recipe.model import Model

Method = Literal["none", "backdrop", "dropout", "dropblock", "crop"]
PARAMETERS: dict[str, dict[str, float]] = {  # and their defaults
    "none": {},
    "backdrop": {"fine": 0.3, "coarse": 0.95},
    "dropout": {"fine": 0.1, "coarse": 0.3},
    "dropblock": {"fine": 0.1, "coarse": 0.1, "size": 3},
    "crop": {"share": 0.5},
}


class Regularizer(Model):
    """A method and its parameters.

    ==========  ================================================================  =======================================
    method      in training                                                       parameters
    ==========  ================================================================  =======================================
    none        nothing
    backdrop    gradient passes at some positions (`Backdrop`)                    drop probabilities `fine`, `coarse`
    dropout     elements of the maps are set to 0 (`torch.nn.Dropout`)            drop probabilities `fine`, `coarse`
    dropblock   blocks of them are (`DropBlock`)                                  `fine`, `coarse`, and `size` of a block
    crop        the net sees a part of each image, elsewhere each time            `share` of the image's side
    ==========  ================================================================  =======================================

    Attributes
    ----------
    method : {"none", "backdrop", "dropout", "dropblock", "crop"}
    parameters : dict of str to float
        Those left out have their defaults, `PARAMETERS`.

    Raises
    ------
    GptexError
        For another method, parameters it does not have, and values out of range.

    Examples
    --------
    >>> Regularizer(method="dropblock", parameters={"fine": 0.2}).parameters
    {'fine': 0.2, 'coarse': 0.1, 'size': 3.0}
    >>> print(Regularizer.parse("backdrop:coarse=0.8"))
    backdrop:fine=0.3,coarse=0.8
    """

    method: Method = "none"
    parameters: dict[str, float] = Field(default_factory=dict)

    @field_validator("method", mode="before")
    @classmethod
    def _known(cls, method: str) -> str:
        if not isinstance(method, str) or method not in PARAMETERS:
            raise GptexError(f"there is no regularizer {method!r}: {nearest(str(method), list(PARAMETERS))}")
        return method

    @model_validator(mode="before")
    @classmethod
    def _filled(cls, data: dict[str, object]) -> dict[str, object]:
        given = data.get("parameters", {}) if isinstance(data, dict) else None
        if not isinstance(given, dict):
            return data  # to be refused as what it is
        return {**data, "parameters": {**PARAMETERS.get(str(data.get("method", "none")), {}), **given}}

    @model_validator(mode="after")
    def _in_range(self) -> Self:
        known = PARAMETERS[self.method]
        for name, value in self.parameters.items():
            if name not in known:
                hint = nearest(name, list(known)) if known else "it has none"
                raise GptexError(f"{self.method} has no parameter {name!r}: {hint}")
            if name in ("fine", "coarse") and not 0 <= value < 1:
                raise GptexError(f"{self.method}: {name} is a drop probability, at least 0 and below 1, not {value:g}")
            if name == "size" and not (value >= 1 and value.is_integer()):
                raise GptexError(f"{self.method}: size is a whole number of positions, not {value:g}")
            if name == "share" and not 0 < value <= 1:
                raise GptexError(f"{self.method}: share is above 0 and 1 at most, not {value:g}")
        return self

    @classmethod
    def parse(cls, text: str) -> Self:
        """The regularizer of a text such as ``backdrop:fine=0.3,coarse=0.95``, or the method's name alone."""
        method, _, parameters = text.partition(":")
        return cls(method=method, parameters=parse_parameters(parameters) if parameters else {})

    def __str__(self) -> str:
        values = ",".join(f"{name}={value:.12g}" for name, value in self.parameters.items())
        return f"{self.method}:{values}" if values else self.method

    def layer(self, place: Literal["fine", "coarse"]) -> nn.Module:
        """What stands at a place of a net."""
        if self.method == "backdrop":
            return Backdrop(self.parameters[place])
        if self.method == "dropout":
            return SampleNoise(nn.Dropout(self.parameters[place]))
        if self.method == "dropblock":
            return SampleNoise(DropBlock(self.parameters[place], int(self.parameters["size"])))
        return nn.Identity()


def parse_parameters(text: str) -> dict[str, float]:
    """Numbers by name.

    >>> parse_parameters("fine=0.3,coarse=0.95")
    {'fine': 0.3, 'coarse': 0.95}

    Raises
    ------
    GptexError
        For anything else.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            raise GptexError(f"parameters are numbers by name, such as fine=0.3,coarse=0.95, not {text!r}") from None
        if name.strip() in found:
            raise GptexError(f"{name.strip()} is given twice in {text!r}")
        found[name.strip()] = number
    return found


class DropBlock(nn.Module):
    """Sets square blocks of each channel to 0, and scales up what is left (Ghiasi, Lin and Le 2018, arXiv 1810.12890).

    Parameters
    ----------
    p : float in [0, 1)
        Share of the elements to drop; where blocks overlap fewer are dropped.
    size : int
        Side of a block; on a map that is smaller, that of the map.

    Examples
    --------
    >>> DropBlock(0.5, 2).eval()(torch.ones(1, 1, 2, 2)).sum()
    tensor(4.)
    """

    def __init__(self, p: float, size: int) -> None:
        super().__init__()
        self.p, self.size = p, size

    def forward(self, x: Tensor) -> Tensor:
        """`x`, of shape (N, C, H, W), with blocks of 0 in training mode."""
        if not self.training or self.p == 0:
            return x
        size = min(self.size, *x.shape[2:])
        corners = [length - size + 1 for length in x.shape[2:]]  # where a block can begin
        chance = self.p / size**2 * math.prod(x.shape[2:]) / math.prod(corners)
        begins = (torch.rand(*x.shape[:2], *corners, device=x.device) < chance).float()
        kept = 1 - functional.max_pool2d(functional.pad(begins, [size - 1] * 4), size, stride=1)
        return x * (kept * (kept.numel() / kept.sum().clamp(min=1))).to(x.dtype)


class SampleNoise(nn.Module):
    """A layer that multiplies by noise, such as dropout, with the noise that one process would draw for the global batch.

    Parameters
    ----------
    layer : nn.Module
        In training mode linear in its input, with a factor for each element: what it makes of ones is the noise.

    Attributes
    ----------
    rank, world_size : int
        Which rows of the global batch this process has: each `world_size`-th, from `rank` on.
    """

    def __init__(self, layer: nn.Module) -> None:
        super().__init__()
        self.layer, self.rank, self.world_size = layer, 0, 1

    def forward(self, x: Tensor) -> Tensor:
        """`x` times the noise in training mode, else as it is."""
        if not self.training:
            return x
        ones = x.new_ones(len(x) * self.world_size, *x.shape[1:])
        noise: Tensor = self.layer(ones)[self.rank :: self.world_size]
        return x * noise


def random_crop(images: Tensor, share: float, rank: int = 0, world_size: int = 1) -> Tensor:
    """A part of each image, of `share` of its side and at a place of its own.

    Parameters
    ----------
    images : tensor of shape (N, C, *shape)
    share : float
    rank, world_size : int
        Which rows of the global batch these are; the places are those that one process would draw.

    Returns
    -------
    tensor of shape (N, C, *crop_shape(shape, share))

    Examples
    --------
    >>> random_crop(torch.zeros(2, 1, 32, 48), 0.5).shape
    torch.Size([2, 1, 16, 24])
    """
    shape, rows = images.shape[2:], len(images) * world_size
    sizes = crop_shape(shape, share)
    drawn = [torch.randint(whole - size + 1, (rows,)) for whole, size in zip(shape, sizes, strict=True)]
    places = torch.stack(drawn, dim=1)[rank::world_size].tolist()
    windows = [
        (slice(None), *(slice(first, first + size) for first, size in zip(place, sizes, strict=True))) for place in places
    ]
    return torch.stack([image[window] for image, window in zip(images, windows, strict=True)])


def crop_shape(shape: Sequence[int], share: float) -> tuple[int, ...]:
    """Pixels of a part of `share` of each side."""
    return tuple(max(round(share * length), 1) for length in shape)
