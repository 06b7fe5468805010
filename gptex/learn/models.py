"""The demo nets of the backdrop paper: eight convolutions, each of which halves an image, and two masks between them."""

from __future__ import annotations

from collections import OrderedDict
from typing import Literal

from torch import nn

from gptex.errors import GptexError
from gptex.learn.backdrop import Backdrop

Demo = Literal["A", "B", "C"]


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
    layers: OrderedDict[str, nn.Module] = OrderedDict()
    for number, size in enumerate([5] + 4 * [before] + 3 * [after]):
        layers[f"conv{number}"] = nn.Conv2d(channels if number else 1, channels, size, stride=2, padding=(size - 1) // 2)
        layers[f"relu{number}"] = nn.ReLU()
        if number == 4:
            layers["fine"] = Backdrop((0.85 if kind == "C" else 0.3) if fine is None else fine)
    layers["coarse"] = Backdrop(coarse)
    if n_classes is not None:
        layers |= {"pool": nn.AdaptiveAvgPool2d(1), "flatten": nn.Flatten(), "classify": nn.Linear(channels, n_classes)}
    return nn.Sequential(layers)
