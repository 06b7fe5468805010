"""The demo nets of the backdrop paper, and nets of their kind to classify textures with.

They are convolutions that shrink an image, with something at two places: `fine`, after those that see the fine scale, and
`coarse`, after those that see the coarse one.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Sequence
from typing import Literal, cast, get_args

from torch import Tensor, nn

from gptex.errors import GptexError, nearest
from gptex.learn.backdrop import Backdrop
from gptex.learn.config import Config
from gptex.learn.regularizers import Regularizer, crop_shape

Demo = Literal["A", "B", "C"]
Classifier = Literal["paper", "small", "tiny"]


def demo_net(
    kind: Demo = "A", *, channels: int = 64, n_classes: int | None = None, fine: float | None = None, coarse: float = 0.95
) -> nn.Sequential:
    """One of the three nets that show where backdrop lets gradient through.

    A convolution of 5 × 5 pixels and four more make a map of 1/32 of the image's size, which `fine` masks; three more make one
    of 1/256, which `coarse` masks. The nets differ in how far those convolutions reach:

    ====  ==========================================  ===================================================================
    kind  kernels                                     what a survivor of a mask sees
    ====  ==========================================  ===================================================================
    A     2 × 2, stride 2                             a block of its own: blocks neither overlap nor leave gaps
    B     2 × 2 before `fine`, 3 × 3 after it         blocks of the fine map, shared between neighbours in the coarse one
    C     3 × 3, stride 2                             regions that overlap in both maps
    ====  ==========================================  ===================================================================

    Parameters
    ----------
    kind : {"A", "B", "C"}
    channels : int
        Of each convolution.
    n_classes : int, optional
        With it the net ends in the mean over positions and a linear layer, for classification.
    fine, coarse : float in [0, 1)
        Drop probabilities; `fine` is 0.3 by default, in net C 0.85.

    Returns
    -------
    nn.Sequential
        From (N, 1, H, W) to (N, channels, H/256, W/256), or (N, n_classes). Its layers have names: `net.fine` and `net.coarse`
        are the masks.

    Raises
    ------
    GptexError
        For another kind, or a probability outside [0, 1).

    Examples
    --------
    >>> import torch
    >>> net = demo_net("A", channels=4, n_classes=4)
    >>> net(torch.zeros(2, 1, 512, 512)).shape, net.fine.last_mask.shape, net.coarse.last_mask.shape
    (torch.Size([2, 4]), torch.Size([1, 1, 16, 16]), torch.Size([1, 1, 2, 2]))
    """
    if kind not in ("A", "B", "C"):
        raise GptexError(f"the demo nets are A, B and C, not {kind!r}")
    before, after = (3 if kind == "C" else 2), (2 if kind == "A" else 3)
    fine_mask = Backdrop((0.85 if kind == "C" else 0.3) if fine is None else fine)
    return _net([5] + 4 * [before], 3 * [after], 2, channels, fine_mask, Backdrop(coarse), n_classes)


def classifier(
    name: Classifier, n_classes: int, *, channels: int | None = None, regularizer: Regularizer | None = None
) -> nn.Sequential:
    """A net that says which class a texture is of: convolutions, the mean over positions, and a linear layer.

    =====  ========  ==========================  =========================  ====================================
    name   channels  first convolution           `fine` is a map of         `coarse` is a map of
    =====  ========  ==========================  =========================  ====================================
    paper  64        5 × 5, stride 2             1/32 of the image's side   1/256: demo net A
    small  16        4 × 4, stride 4             1/32                       1/256: blocks as those of paper
    tiny   16        4 × 4, stride 4             1/16                       1/64, for images from 64² on
    =====  ========  ==========================  =========================  ====================================

    All others are 2 × 2 with stride 2, so what a position of a map sees is a block of its own. Weights begin as in He et al.
    (2015): with torch's own ones signals get lost in so many layers, and training spends most of its time on a plateau.

    Parameters
    ----------
    name : {"paper", "small", "tiny"}
    n_classes : int
    channels : int, optional
        Of each convolution, if not as above.
    regularizer : Regularizer, optional
        Its layers stand at `fine` and `coarse`.

    Returns
    -------
    nn.Sequential
        From (N, 1, H, W), of any size from 256 on, or 64 for tiny, to (N, n_classes).

    Raises
    ------
    GptexError
        For another name.

    Examples
    --------
    >>> import torch
    >>> classifier("tiny", 4)(torch.zeros(2, 1, 64, 100)).shape
    torch.Size([2, 4])
    """
    if name not in get_args(Classifier):
        raise GptexError(f"there is no model {name!r}: {nearest(str(name), get_args(Classifier))}")
    regularizer = regularizer or Regularizer()
    first, stride, before, after = {"paper": (5, 2, 4, 3), "small": (4, 4, 3, 3), "tiny": (4, 4, 2, 2)}[name]
    channels = channels or (64 if name == "paper" else 16)
    fine, coarse = regularizer.layer("fine"), regularizer.layer("coarse")
    net = _net([first] + before * [2], after * [2], stride, channels, fine, coarse, n_classes)
    for module in net:
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
            nn.init.zeros_(cast("Tensor", module.bias))
    return net


def _net(
    before: Sequence[int],
    after: Sequence[int],
    stride: int,
    channels: int,
    fine: nn.Module,
    coarse: nn.Module,
    n_classes: int | None,
) -> nn.Sequential:
    """Convolutions with kernels of these sizes before and after `fine`; the first has this stride, the others 2."""
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, size in enumerate([*before, *after]):
        step = 2 if number else stride
        padding = max(size - step + 1, 0) // 2
        layers[f"conv{number}"] = nn.Conv2d(channels if number else 1, channels, size, stride=step, padding=padding)
        layers[f"relu{number}"] = nn.ReLU()
        if number == len(before) - 1:
            layers["fine"] = fine
    layers["coarse"] = coarse
    if n_classes is not None:
        layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classify": nn.Linear(channels, n_classes)}
    return nn.Sequential(layers)


def smallest_side(model: nn.Module) -> int:
    """Pixels that an image needs on each side for the model's convolutions to leave something: the product of their strides."""
    strides = [module.stride[0] for module in model.modules() if isinstance(module, nn.Conv2d)]
    return math.prod(int(stride) for stride in strides)


def net_of(config: Config, n_classes: int, own: nn.Module | None = None) -> nn.Module:
    """The net that a config names, or one's own; GptexError if it is to be one's own and is not given."""
    if config.model == "custom":
        if own is None:
            raise GptexError("the config says that the net is one's own: it must be given (net=)")
        return own
    return classifier(config.model, n_classes, channels=config.channels, regularizer=config.regularizer)


def check_shape(net: nn.Module, config: Config, shape: tuple[int, ...], share: float = 1.0) -> None:
    """GptexError if the net of the config has no room in images of this shape, or in crops of a share of their sides."""
    if config.model == "custom":
        return
    if len(shape) != 2:
        raise GptexError(f"the model {config.model} is for images, not for {len(shape)} axes: give a net of your own (net=)")
    seen, side = crop_shape(shape, share), smallest_side(net)
    if min(seen) < side:
        raise GptexError(
            f"the model {config.model} needs {side} pixels a side and would see {' × '.join(map(str, seen))}: use larger "
            f"{'images' if share == 1 else 'crops (--crop share=S), larger images, another method'} or another model (--model)"
        )
