"""Backdrop: the identity on the way forward, a random mask on the way back.

Where samples are few and large, or a loss does not decompose into a sum over samples, stochastic gradient descent has little
to be stochastic about. Backdrop masks the gradient instead, wherever in the network it is put: in each pass only some positions
of a feature map, or some samples of a batch, send their gradient on, while all of them enter the loss. (Golkar and Cranmer
2018, arXiv 1806.01337.)
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any, Literal, cast, get_args

import torch
from torch import Tensor, nn

from gptex.errors import GptexError, nearest

Normalize = Literal["realized", "expected", "none"]
Position = Sequence[int]


def backdrop(
    x: Tensor,
    p: float,
    dims: int | Sequence[int] = (2, 3),
    *,
    normalize: Normalize = "realized",
    generator: torch.Generator | None = None,
) -> Tensor:
    """Pass `x` on as it is, and its gradient only where a random mask lets it through.

    The mask varies along `dims` and is shared along the other axes. On images of shape (N, C, H, W):

    =============  ================  =========================================================================
    dims           shape of mask     what is dropped
    =============  ================  =========================================================================
    (2, 3)         (1, 1, H, W)      positions, the same in all samples and channels
    (0, 2, 3)      (N, 1, H, W)      positions, in each sample others: with the batch axis there are N masks
    (0,)           (N, 1, 1, 1)      samples, for losses that do not decompose into a sum over them
    =============  ================  =========================================================================

    A mask has at least one survivor: one element chosen uniformly if chance left none.

    Parameters
    ----------
    x : tensor of any shape
    p : float in [0, 1)
        Probability that an element is dropped. With 0 the result is `x` itself.
    dims : int or sequence of int
        Axes along which the mask varies; negative ones count from the last.
    normalize : {"realized", "expected", "none"}
        What the gradient of survivors is multiplied by: elements over survivors of their mask, 1 / (1 - p), or 1.
    generator : torch.Generator, optional
        Where the mask is drawn from, if not from torch's own.

    Returns
    -------
    tensor
        The bits of `x`, also where they are infinite or nan. In eager mode it shares memory with `x`, and torch refuses to
        change it in place.

    Raises
    ------
    GptexError
        For `p` outside [0, 1), `dims` that `x` lacks or that occur twice, or another `normalize`.

    Examples
    --------
    >>> x = torch.zeros(2, 4, requires_grad=True)
    >>> backdrop(x, 0.5, dims=(1,), generator=torch.Generator().manual_seed(0)).sum().backward()
    >>> x.grad
    tensor([[0., 4., 0., 0.],
            [0., 4., 0., 0.]])
    """
    p, dims = check_p(p), axes_of(x, dims)
    if p == 0 or x.numel() == 0:
        return x
    mask = draw_mask(x, p, dims, generator)
    return mask_gradient(x, mask, survivor_scale(mask, p, dims, check_normalize(normalize), x.dtype))


def mask_gradient(x: Tensor, mask: Tensor, scale: Tensor | float = 1.0) -> Tensor:
    """Pass `x` on as it is; its gradient is `scale` times what arrives where `mask` is true, and exactly 0 elsewhere.

    Parameters
    ----------
    x : tensor
    mask : bool tensor, of a shape that broadcasts to that of `x`
    scale : positive float or tensor, of a shape that broadcasts to that of `x`

    Examples
    --------
    >>> x = torch.tensor([1.0, 2.0], requires_grad=True)
    >>> mask_gradient(x, torch.tensor([True, False]), 3).sum().backward()
    >>> x.grad
    tensor([3., 0.])
    """
    most = torch.finfo(x.dtype).max if x.dtype.is_floating_point else math.inf  # infinity times 0 would be nan
    factor = scale.clamp(max=most).to(x.dtype) if isinstance(scale, Tensor) else x.new_full((), min(scale, most))
    if torch.compiler.is_compiling():
        return _written_out(x, mask, factor)
    return cast("Tensor", _MaskGradient.apply(x, mask, factor))  # type: ignore[no-untyped-call]


class _MaskGradient(torch.autograd.Function):
    """No pass over `x`, no memory. But a compiled `torch.func.grad` would leave its backward out without a word."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
        return x.view_as(x)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        ctx.save_for_backward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        mask, scale = ctx.saved_tensors
        return torch.where(mask, grads[0], 0).mul_(scale), None, None  # not times 0, which would let nan through


def _written_out(x: Tensor, mask: Tensor, scale: Tensor) -> Tensor:
    """The same in arithmetic, for the compiler, which fuses it: the value of `x` exactly, `scale` times its derivative.

    `fixed - x` is +0 and `y - 0` is y for every finite y, -0 included; infinity and nan survive being multiplied.
    """
    fixed = x.detach()
    scaled = torch.where(torch.isfinite(fixed), fixed - scale * (fixed - x), scale * x)
    return torch.where(mask, scaled, fixed)


def draw_mask(x: Tensor, p: float, dims: Sequence[int], generator: torch.Generator | None = None) -> Tensor:
    """A bool tensor with the length of `x` along `dims` and 1 elsewhere, on its device; each element is true with 1 - p.

    That the largest of uniform numbers is kept, whatever it is, makes one survivor of none, each with the same chance.
    """
    device = generator.device if generator else x.device
    uniform = torch.rand(_mask_shape(x, dims), generator=generator, device=device, dtype=torch.float32)
    return (uniform >= uniform.amax(_within(dims), keepdim=True).clamp(max=p)).to(x.device)


def pinned_mask(x: Tensor, pin: Iterable[Position], dims: Sequence[int]) -> Tensor:
    """The mask of which the elements at the positions `pin`, an index for each of `dims`, are true and no others."""
    mask = torch.zeros(_mask_shape(x, dims), dtype=torch.bool, device=x.device)
    for position in pin:
        place = [0] * x.ndim
        for axis, index in zip(dims, position, strict=True):
            if not -x.shape[axis] <= index < x.shape[axis]:
                raise GptexError(f"there is no position {tuple(position)} along axes {tuple(dims)} of shape {tuple(x.shape)}")
            place[axis] = index
        mask[tuple(place)] = True
    return mask


def survivor_scale(
    mask: Tensor, p: float, dims: Sequence[int], normalize: Normalize, dtype: torch.dtype = torch.float32
) -> Tensor | float:
    """What the gradient of survivors is multiplied by; if realized, a tensor with a number for each mask."""
    if normalize == "expected":
        return 1 / (1 - p)
    if normalize == "none":
        return 1.0
    kept = mask.sum(_within(dims), keepdim=True).clamp(min=1)
    return mask.numel() // kept.numel() / kept.to(torch.promote_types(dtype, torch.float32))


def _mask_shape(x: Tensor, dims: Sequence[int]) -> list[int]:
    return [length if axis in dims else 1 for axis, length in enumerate(x.shape)]


def _within(dims: Sequence[int]) -> list[int]:
    """The axes of one mask: where the batch axis is one of several, each sample has its own."""
    return [axis for axis in dims if axis != 0 or len(dims) == 1]


def check_p(p: float) -> float:
    """`p`, if it is a probability below 1."""
    if not 0 <= p < 1:
        raise GptexError(f"the drop probability p is at least 0 and below 1, not {p}")
    return p


def check_normalize(normalize: str) -> Normalize:
    """`normalize`, if there is such a way."""
    if normalize not in get_args(Normalize):
        raise GptexError(f"there is no normalize {normalize!r}: {nearest(str(normalize), get_args(Normalize))}")
    return cast("Normalize", normalize)


def check_dims(dims: int | Sequence[int]) -> tuple[int, ...]:
    """`dims` as a tuple, if it names an axis."""
    axes = (dims,) if isinstance(dims, int) else tuple(map(operator.index, dims))
    if not axes:
        raise GptexError("a mask varies along at least one axis: dims is empty")
    return axes


def axes_of(x: Tensor, dims: int | Sequence[int]) -> tuple[int, ...]:
    """`dims` counted from the first, if they are different axes of `x`."""
    axes = check_dims(dims)
    if not all(-x.ndim <= axis < x.ndim for axis in axes):
        raise GptexError(f"backdrop along axes {axes} needs an input that has them, not one of shape {tuple(x.shape)}")
    counted = tuple(axis % x.ndim for axis in axes)
    if len(set(counted)) < len(counted):
        raise GptexError(f"axes {axes} of an input of shape {tuple(x.shape)} name one of them twice")
    return counted


class Backdrop(nn.Module):
    """The layer of `backdrop`: passes its input on, and on the way back drops gradient at random. `eval()` turns it off.

    Parameters
    ----------
    p : float in [0, 1)
        Probability that an element of the mask is dropped.
    dims : int or sequence of int
        Axes along which the mask varies: (2, 3) for positions, (0, 2, 3) for other positions in each sample, (0,) for samples.
    normalize : {"realized", "expected", "none"}
        What the gradient of survivors is multiplied by: elements over survivors of their mask, 1 / (1 - p), or 1.
    generator : torch.Generator, optional
        Where masks are drawn from, if not from torch's own.
    pin : sequence of positions, optional
        Survivors to have in each pass instead of random ones, for study: each an index for each of `dims`.

    Shape
    -----
    Input of any shape that has the axes `dims`; output the same.

    Attributes
    ----------
    last_mask : bool tensor or None
        The mask of the last pass that had one, of the input's length along `dims` and 1 elsewhere; true where gradient passes.
        Compiled passes and those under `torch.func` leave it as it was.

    Raises
    ------
    GptexError
        As `backdrop`; also for a position that the input does not have.

    Examples
    --------
    >>> layer = Backdrop(0.75, pin=[(0, 1)])
    >>> layer
    Backdrop(p=0.75, dims=(2, 3), normalize='realized', pin=[(0, 1)])
    >>> x = torch.ones(1, 1, 2, 2, requires_grad=True)
    >>> layer(x).sum().backward()
    >>> x.grad
    tensor([[[[0., 4.],
              [0., 0.]]]])
    """

    def __init__(
        self,
        p: float,
        dims: int | Sequence[int] = (2, 3),
        *,
        normalize: Normalize = "realized",
        generator: torch.Generator | None = None,
        pin: Iterable[Position] | None = None,
    ) -> None:
        super().__init__()
        self.p, self.dims, self.normalize = check_p(p), check_dims(dims), check_normalize(normalize)
        self.generator = generator
        self.pin = None if pin is None else [tuple(position) for position in pin]
        if any(len(position) != len(self.dims) for position in self.pin or []):
            raise GptexError(f"a position to pin has an index for each of the axes {self.dims}: {self.pin}")
        self.last_mask: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        """`x` as it is."""
        dims = axes_of(x, self.dims)
        if not self.training or x.numel() == 0 or (self.p == 0 and self.pin is None):
            return x
        mask = draw_mask(x, self.p, dims, self.generator) if self.pin is None else pinned_mask(x, self.pin, dims)
        if not (torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(mask)):
            self.last_mask = mask  # those of the compiler and of torch.func are dead when the pass is over
        return mask_gradient(x, mask, survivor_scale(mask, self.p, dims, self.normalize, x.dtype))

    def extra_repr(self) -> str:
        """The arguments."""
        pinned = "" if self.pin is None else f", pin={self.pin}"
        return f"p={self.p}, dims={self.dims}, normalize={self.normalize!r}{pinned}"
