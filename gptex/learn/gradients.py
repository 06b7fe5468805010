"""Pictures of where gradient arrives. Needs matplotlib, the extra `plot`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn

from gptex.errors import GptexError
from gptex.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def gradient_reach(model: nn.Module, x: Tensor) -> Tensor:
    """|gradient| of the sum of the model's output at each pixel, summed over channels: from (N, C, H, W) to (N, H, W).

    Parameters keep the gradients they have, and `x` too.

    Raises
    ------
    GptexError
        If `x` is no batch of images.

    Examples
    --------
    >>> gradient_reach(nn.AvgPool2d(2), torch.zeros(1, 1, 2, 3))
    tensor([[[0.2500, 0.2500, 0.0000],
             [0.2500, 0.2500, 0.0000]]])
    """
    if x.ndim != 4:
        raise GptexError(f"images come in a batch of shape (N, C, H, W), not {tuple(x.shape)}")
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(model(x).sum(), x)
    return gradient.abs().sum(1)


def plot_gradient_reach(model: nn.Module, x: Tensor) -> Figure:
    """A picture of which pixels a model learns from in one pass: images, and beside each |gradient| that arrives at it.

    The model is taken in the mode that it is in: in training mode one sees the masks of `Backdrop` layers, drawn for this pass.

    Parameters
    ----------
    model : nn.Module
        Of images; the gradient is that of the sum of its output.
    x : tensor of shape (N, C, H, W)
        A row of the picture for each image; the first channel is shown.

    Returns
    -------
    matplotlib.figure.Figure
        |gradient| from black, which is exactly 0, to white, the 99.9 % quantile of all; the share of pixels that it reaches is
        written above.

    Raises
    ------
    GptexError
        If `x` is no batch of images.
    MissingExtraError
        Without matplotlib.

    Examples
    --------
    >>> from gptex.learn.models import demo_net
    >>> figure = plot_gradient_reach(demo_net("A", channels=2), torch.randn(1, 1, 256, 256))
    >>> figure.savefig("reach.png")  # doctest: +SKIP
    """
    reach = gradient_reach(model, x).float().cpu().numpy()
    shares = (reach > 0).mean((1, 2))
    limit = float(np.quantile(reach, 0.999)) or 1.0
    figure = new_figure(6.4, 3.3 * len(reach))
    grid = figure.subplots(len(reach), 2, squeeze=False)
    for (left, right), image, gradient, share in zip(grid, x.detach().float().cpu().numpy(), reach, shares, strict=True):
        left.imshow(image[0], cmap="gray")
        left.set_title("input", fontsize=9)
        right.imshow(gradient, cmap="inferno", vmin=0, vmax=limit)
        right.set_title(f"|gradient| reaches {100 * share:.1f} % of the pixels", fontsize=9)
        left.set_axis_off()
        right.set_axis_off()
    return figure
