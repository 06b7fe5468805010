"""What `Backdrop` adds to a pass, in time and in bytes, beside an identity, the original software's form and DropBlock."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from benchmarks.timing import in_turn, table
from gptex import Backdrop
from gptex.learn.backdrop import _written_out, draw_mask, survivor_scale
from gptex.learn.models import demo_net

SHAPE = (5, 64, 256, 256)  # what the second convolution of a demo net makes of the paper's batch


class _Original(torch.autograd.Function):
    """The forward multiplies by ones and copies, as that of the original software does."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, ones: Tensor, mask: Tensor) -> Tensor:
        ctx.save_for_backward(mask)
        return (x * ones).clone()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        return gradient * ctx.saved_tensors[0], None, None


class Original(nn.Module):
    """The layer around it, for dims (2, 3)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        ones = torch.ones(1, 1, *x.shape[2:])
        mask = torch.bernoulli(ones * (1 - self.p))
        if mask.abs().max() == 0:
            mask[0, 0, torch.randint(x.shape[2], ()), torch.randint(x.shape[3], ())] = 1
        return _Original.apply(x, ones, mask / mask.sum() * mask.numel())


class WrittenOut(nn.Module):
    """The arithmetic that the compiler gets, without the compiler."""

    def forward(self, x: Tensor) -> Tensor:
        mask = draw_mask(x, 0.5, (2, 3))
        return _written_out(x, mask, survivor_scale(mask, 0.5, (2, 3), "realized"))


class Allocated(TorchDispatchMode):
    """Counts the bytes of all memory that operations ask for."""

    total = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        if isinstance(result, Tensor):
            known = {a.untyped_storage().data_ptr() for a in args if isinstance(a, Tensor)}
            if result.untyped_storage().data_ptr() not in known:
                self.total += result.untyped_storage().nbytes()
        return result


def allocated(layer: nn.Module, x: Tensor) -> int:
    """Bytes that a forward pass asks for."""
    with Allocated() as counter:
        layer(x)
    return counter.total


def forward_and_backward(layer: nn.Module, x: Tensor, arriving: Tensor) -> Callable[[], object]:
    def call() -> None:
        torch.autograd.grad(layer(x), x, arriving)

    return call


def dropblock(p: float) -> dict[str, nn.Module]:
    """Torchvision's, if it is installed."""
    try:
        from torchvision.ops import DropBlock2d
    except ImportError:
        print("(without torchvision)")
        return {}
    return {"torchvision.ops.DropBlock2d(p, 5)": DropBlock2d(p, 5)}


def main() -> None:
    """Print the tables: the layers alone, and a training step of demo net A with and without its masks."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    x, arriving = torch.randn(SHAPE, requires_grad=True), torch.randn(SHAPE)
    layers = {
        "identity (a view)": _View(),
        "gptex.Backdrop": Backdrop(0.5),
        "the original's form": Original(0.5),
        "gptex's arithmetic form, uncompiled": WrittenOut(),
        "gptex.Backdrop, compiled": torch.compile(Backdrop(0.5)),
        "torch.nn.Dropout": nn.Dropout(0.5),
        **dropblock(0.5),
    }
    copy = "a copy of the input, for comparison"
    size = x.nbytes / 2**20
    print(f"Forward, {' x '.join(map(str, SHAPE))} float32, {size:.0f} MiB:\n")
    table(in_turn({copy: x.detach().clone, **{name: _call(layer, x) for name, layer in layers.items()}}, 7), copy)
    print("\nForward and backward:\n")
    table(in_turn({copy: x.detach().clone, **{n: forward_and_backward(v, x, arriving) for n, v in layers.items()}}, 7), copy)
    print("\nMemory that the forward pass asks for:\n")
    for name, layer in layers.items():
        if not name.endswith(", compiled"):  # which calls no operations
            print(f"{name:<58} {allocated(layer, x) / x.nbytes:7.3f} x the input")

    print("\nA training step of demo net A, 16 channels, one image of 1024²:\n")
    image = torch.randn(1, 1, 1024, 1024)
    nets = {name: demo_net("A", channels=16, n_classes=4, fine=f, coarse=c) for name, f, c in _STEPS}
    table(in_turn({name: _step(net, image) for name, net in nets.items()}, 60), _STEPS[0][0])


_STEPS = (("without masks (p = 0)", 0.0, 0.0), ("fine 0.3, coarse 0.95", 0.3, 0.95), ("without masks, once more", 0.0, 0.0))


class _View(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.view_as(x)


def _call(layer: nn.Module, x: Tensor) -> Callable[[], object]:
    return lambda: layer(x)


def _step(net: nn.Module, image: Tensor) -> Callable[[], object]:
    def call() -> None:
        net.zero_grad()
        nn.functional.cross_entropy(net(image), torch.tensor([1])).backward()

    return call
