"""Backdrop in every mode that torch has of taking gradients; `python tests/learn/test_backdrop_modes.py` prints docs' table.

A mode is right if all bits of the input come out, infinite ones too, and the gradient that arrives at the input is the one that
arrived at the output times a mask: of zeros and of the same number everywhere else, which is elements over survivors, shared by
samples and channels. The mask is read off the gradient, not asked of the layer.
"""

import copy
import functools
import math
import os
import re
import shutil
import subprocess
import sys
import tempfile
import warnings
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from torch.utils.checkpoint import checkpoint

from gptex import Backdrop
from gptex.learn.backdrop import _MaskGradient, draw_mask, survivor_scale

SHAPE = (2, 3, 8, 8)
DOCS = Path(__file__).parents[2] / "docs/backdrop.md"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's own compiler


def needs_compiler(test):
    """Slow, and left out where there is no compiler of C++, which torch.compile needs."""
    missing = shutil.which("g++") is None and shutil.which("clang++") is None
    return pytest.mark.slow(pytest.mark.skipif(missing, reason="torch.compile needs a compiler of C++")(test))


class FunctionAlone(torch.nn.Module):
    """What the layer is in eager mode, without what it does for the compiler."""

    def __init__(self, p):
        super().__init__()
        self.p = p

    def forward(self, x):
        mask = draw_mask(x, self.p, (2, 3))
        return _MaskGradient.apply(x, mask, survivor_scale(mask, self.p, (2, 3), "realized").to(x.dtype))


def awkward(dtype=torch.float32):
    x = torch.randn(SHAPE)
    x.view(-1)[:6] = torch.tensor([0.0, -0.0, math.inf, -math.inf, math.nan, 1e-40])
    return x.to(dtype)


def same_bits(x, y):
    return torch.equal(x.detach().view(torch.uint8), y.detach().view(torch.uint8))


def is_masked(gradient, arriving):
    """Whether `gradient` is `arriving` times a mask of SHAPE[2:], some of it dropped, scaled by elements over survivors."""
    mask = (gradient != 0).any(0).any(0)
    kept = int(mask.sum())
    if not 0 < kept < mask.numel():
        return False
    wanted = torch.where(mask, arriving * torch.tensor(mask.numel() / kept).to(gradient.dtype), 0)
    return torch.allclose(gradient, wanted, rtol=4 * torch.finfo(gradient.dtype).eps, atol=0)


def by_autograd(run, layer):
    x, arriving = awkward().requires_grad_(), torch.randn(SHAPE)
    y = run(layer)(x)
    y.backward(arriving)
    return same_bits(x, y) and is_masked(x.grad, arriving)


def by_func(run, layer):
    """Through torch.func.grad, which gives no output; `has_aux` hands it out."""
    arriving = torch.randn(SHAPE)

    def loss(x):
        y = layer(x)
        return (y * arriving).sum(), y

    x = awkward()
    gradient, y = run(torch.func.grad(loss, has_aux=True))(x)
    return same_bits(x, y) and is_masked(gradient, arriving)


def by_vmap(run, layer):
    """A gradient for each of the samples of a batch, each with channels and a mask of its own."""
    arriving = torch.randn(SHAPE)

    def loss(x, arriving):
        y = layer(x[None])
        return (y[0] * arriving).sum(), y[0]

    x = awkward()
    gradients, y = run(torch.vmap(torch.func.grad(loss, has_aux=True), randomness="different"))(x, arriving)
    masks = (gradients != 0).any(1)
    each = all(is_masked(g[None], a[None]) for g, a in zip(gradients, arriving, strict=True))
    return same_bits(x, y) and each and not torch.equal(*masks)


def eager(function):
    return function


def compiled(function):
    torch.compiler.reset()
    return torch.compile(function, fullgraph=True)


def twice(layer):
    """d/dx of v · d/dx Σ c y² is 2 c v m² where the gradient itself was 2 c y m."""
    x, c, v = torch.rand(SHAPE).add(1).requires_grad_(), torch.rand(SHAPE), torch.rand(SHAPE)
    (first,) = torch.autograd.grad((c * layer(x) ** 2).sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(first, x, v)
    m = first.detach() / (2 * c * x.detach())
    return is_masked(first.detach(), 2 * c * x.detach()) and torch.allclose(second, 2 * c * v * m**2, rtol=1e-5)


def checkpointed(reentrant):
    return lambda layer: by_autograd(lambda layer: lambda x: checkpoint(layer, x, use_reentrant=reentrant), layer)


def checkpointed_between(layer):
    """Between layers that are computed again, with a generator of the layer's own: the mask of the second pass counts."""
    layer.generator = torch.Generator().manual_seed(0)
    inner, outer = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)
    x, arriving = torch.randn(SHAPE), torch.randn(SHAPE)
    checkpoint(torch.nn.Sequential(inner, layer, outer), x.requires_grad_(), use_reentrant=False).backward(arriving)
    passed = torch.nn.functional.conv_transpose2d(arriving, outer.weight.detach())
    passed = passed * layer.last_mask * 64 / layer.last_mask.sum()
    wanted = torch.einsum("nohw,nihw->oi", passed, x.detach())
    return torch.allclose(inner.weight.grad[:, :, 0, 0], wanted, rtol=1e-4, atol=1e-4)


def autocast(dtype):
    def right(layer):
        convolution, arriving = torch.nn.Conv2d(3, 3, 1), torch.randn(SHAPE).to(dtype)
        with torch.autocast("cpu", dtype):
            x = convolution(torch.randn(SHAPE))
            y = layer(x)
        return x.dtype == y.dtype == dtype and same_bits(x, y) and is_masked(torch.autograd.grad(y, x, arriving)[0], arriving)

    return right


def in_one_of_two_processes(layer, rank, folder):
    """A step of a data-parallel net, and what arrived where."""
    where = f"file://{folder}/meeting"
    torch.distributed.init_process_group("gloo", init_method=where, rank=rank, world_size=2, timeout=timedelta(seconds=60))
    torch.manual_seed(0)
    net = torch.nn.parallel.DistributedDataParallel(torch.nn.Sequential(torch.nn.Conv2d(3, 3, 1), layer))
    torch.manual_seed(1 + rank)
    x, arriving, passed = torch.randn(SHAPE), torch.randn(SHAPE), []
    net.module[0].register_full_backward_pre_hook(lambda _, gradients: passed.append(gradients[0]))
    net(x).backward(arriving)
    torch.save([x, arriving, passed[0], net.module[0].weight.grad[:, :, 0, 0]], f"{folder}/{rank}.pt")
    torch.distributed.barrier()
    os._exit(0)  # gloo's threads now and then abort a process that ends in order


def data_parallel(layer):
    """Each process has a mask of its own, and the gradient of the weights is the mean of what both let through."""
    with tempfile.TemporaryDirectory() as folder:
        commands = [[sys.executable, __file__, type(layer).__name__, str(rank), folder] for rank in range(2)]
        processes = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
        for process in processes:
            errors = process.communicate(timeout=120)[1]
            assert process.returncode == 0, errors
        ranks = [torch.load(f"{folder}/{rank}.pt") for rank in range(2)]
    masked = all(is_masked(passed, arriving) for _, arriving, passed, _ in ranks)
    wanted = sum(torch.einsum("nohw,nihw->oi", passed, x) for x, _, passed, _ in ranks) / 2
    differ = not torch.equal(*(passed != 0 for _, _, passed, _ in ranks))
    return masked and differ and all(torch.allclose(rank[3], wanted, rtol=1e-4, atol=1e-4) for rank in ranks)


EAGER = {
    "eager autograd": lambda layer: by_autograd(eager, layer),
    "`torch.func.grad`": lambda layer: by_func(eager, layer),
    "`vmap(grad)`": lambda layer: by_vmap(eager, layer),
    "double backward": twice,
    "checkpointing, reentrant": checkpointed(True),
    "checkpointing, not reentrant": checkpointed(False),
    "autocast, bfloat16": autocast(torch.bfloat16),
    "autocast, float16": autocast(torch.float16),
}
SLOW = {
    "`torch.compile`, autograd": lambda layer: by_autograd(compiled, layer),
    "`torch.compile(torch.func.grad(f))`": lambda layer: by_func(compiled, layer),
    "`torch.compile(vmap(grad))`": lambda layer: by_vmap(compiled, layer),
    "DDP, two gloo processes": data_parallel,
}


@functools.cache
def outcome(mode, form):
    """A cell of the table."""
    torch.manual_seed(0)
    try:
        return "right" if {**EAGER, **SLOW}[mode](form(0.5)) else "**gradient not masked**"
    except torch._dynamo.exc.TorchDynamoException:
        return "torch refuses"


@pytest.mark.parametrize("mode", EAGER)
def test_the_gradient_is_masked_and_the_rest_is_the_identity(mode):
    assert outcome(mode, Backdrop) == "right"


@pytest.mark.parametrize("mode", EAGER)
def test_a_layer_that_masks_nothing_is_told_apart(mode):
    torch.manual_seed(0)
    assert not EAGER[mode](torch.nn.Identity())


def test_with_a_generator_of_its_own_a_checkpoint_draws_again_and_last_mask_is_what_counted():
    torch.manual_seed(0)
    assert checkpointed_between(Backdrop(0.5))


@needs_compiler
@pytest.mark.parametrize("mode", SLOW)
def test_compiled_and_distributed_too(mode):
    assert outcome(mode, Backdrop) == "right"


@needs_compiler
def test_the_compiler_does_leave_out_the_backward_of_a_function_alone():
    """If this fails, torch has been mended (pytorch #193279), and the arithmetic form may go."""
    assert outcome("`torch.compile(torch.func.grad(f))`", FunctionAlone) == "**gradient not masked**"


@needs_compiler
@pytest.mark.parametrize("normalize", ["expected", "none"])
def test_compiled_the_other_normalizations_hold_too(normalize):
    torch.compiler.reset()
    x = torch.randn(SHAPE, requires_grad=True)
    torch.compile(Backdrop(0.75, normalize=normalize))(x).sum().backward()
    assert set(x.grad.flatten().tolist()) == {0.0, {"expected": 4.0, "none": 1.0}[normalize]}


def test_under_torch_func_and_vmap_the_layer_keeps_no_dead_mask():
    layer = Backdrop(0.5)
    layer(torch.zeros(1, 1, 2, 2))
    before = layer.last_mask.clone()
    by_func(eager, layer)
    by_vmap(eager, layer)
    assert torch.equal(copy.deepcopy(layer).last_mask, before)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("generator", [None, "cpu", "cuda"])
def test_on_a_gpu_too_wherever_the_generator_is(generator):
    layer = Backdrop(0.5, generator=generator and torch.Generator(generator).manual_seed(0))
    x, arriving = awkward().cuda().requires_grad_(), torch.randn(SHAPE).cuda()
    y = layer(x)
    y.backward(arriving)
    assert same_bits(x, y)
    assert is_masked(x.grad.cpu(), arriving.cpu())


def table():
    """The rows of the docs' table."""
    rows = ["| mode | `gptex.Backdrop` | an `autograd.Function` alone |", "|---|---|---|"]
    rows += [f"| {mode} | {outcome(mode, Backdrop)} | {outcome(mode, FunctionAlone)} |" for mode in {**EAGER, **SLOW}]
    return "\n".join(rows) + "\n"


@needs_compiler
def test_the_table_in_the_docs_is_what_the_modes_give():
    printed = re.search(r"<!-- modes -->\n(.*?)<!-- end -->", DOCS.read_text(encoding="utf-8"), flags=re.DOTALL)
    assert printed, "docs/backdrop.md has no table between its marks"
    assert printed[1] == table()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    if sys.argv[1:]:
        name, rank, folder = sys.argv[1:]
        in_one_of_two_processes({"Backdrop": Backdrop, "FunctionAlone": FunctionAlone}[name](0.5), int(rank), folder)
    else:
        print(table(), end="")  # noqa: T201
