"""The processes that train together under torchrun, or the one there is."""

from __future__ import annotations

import atexit
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed

from gptex.errors import GptexError

T = TypeVar("T")
DEVICES = ("cpu", "cuda", "mps", "xpu")


@dataclass(frozen=True)
class Ranks:
    """Which of how many processes this is, and the device it computes on."""

    rank: int
    world_size: int
    device: torch.device

    @property
    def first(self) -> bool:
        """Whether this is the process that writes and speaks."""
        return self.rank == 0

    def total(self, numbers: Tensor) -> Tensor:
        """The sum of the tensors of all processes."""
        if self.world_size > 1:
            distributed.all_reduce(numbers)
        return numbers

    @contextmanager
    def held_by_first(self, context: Callable[[], AbstractContextManager[T]]) -> Iterator[T | None]:
        """A context that the first process enters while the others wait; what it is refused they are all refused."""
        with ExitStack() as stack:
            held: T | None = None
            refusal: list[GptexError | None] = [None]
            if self.first:
                try:
                    held = stack.enter_context(context())
                except GptexError as error:
                    refusal = [error]
            if self.world_size > 1:
                distributed.broadcast_object_list(refusal)
            if refusal[0]:
                raise refusal[0]
            yield held

    def wait(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            distributed.barrier()


def joined(device: str) -> Ranks:
    """Join the other processes, if torchrun started this one: its variables RANK, LOCAL_RANK and WORLD_SIZE say so.

    Parameters
    ----------
    device : str
        "auto", "cpu", "cuda", "mps" and so on.

    Raises
    ------
    GptexError
        If there is no such device.
    """
    world_size = _counted("WORLD_SIZE", 1)
    if world_size > 1 and ":" in device:
        raise GptexError(f"{world_size} processes cannot share the device {device}: name none, and each gets one of its own")
    ranks = Ranks(_counted("RANK", 0) if world_size > 1 else 0, world_size, find_device(device))
    if world_size > 1 and not distributed.is_initialized():
        try:
            distributed.init_process_group("nccl" if ranks.device.type == "cuda" else "gloo")
        except (ValueError, RuntimeError) as error:  # a variable is missing, or another process
            raise GptexError(f"the {world_size} processes of WORLD_SIZE do not come together: {error}") from None
        atexit.register(distributed.destroy_process_group)  # not before: it cannot be joined twice
    return ranks


def check_alone(what: str) -> None:
    """GptexError if this is one of several processes."""
    if _counted("WORLD_SIZE", 1) > 1:
        raise GptexError(f"{what} is for one process: start it without torchrun (the variable WORLD_SIZE)")


def _counted(variable: str, default: int) -> int:
    """The whole number in a variable of the environment that torchrun sets, not below the default."""
    text = os.environ.get(variable, str(default))
    if not text.isdecimal() or int(text) < default:
        raise GptexError(
            f"the environment's variable {variable} is a number, from {default} on, as torchrun sets it, not {text!r}"
        )
    return int(text)


def find_device(name: str) -> torch.device:
    """The device of that name; by "auto" the best there is, a GPU of its own for each process of torchrun.

    Raises
    ------
    GptexError
        If there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name.partition(":")[0] not in DEVICES:
        raise GptexError(f"there is no device {name!r} to train on: there are auto, {', '.join(DEVICES)}")
    try:
        device = torch.device(name)
        mine = _counted("LOCAL_WORLD_SIZE", 1)
        if device.type == "cuda" and torch.cuda.is_available() and torch.cuda.device_count() < mine:
            raise GptexError(
                f"there are {mine} processes here and {torch.cuda.device_count()} GPUs: start fewer, or use the cpu"
            )
        if device.type == "cuda" and device.index is None:
            device = torch.device("cuda", _counted("LOCAL_RANK", 0))
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:  # torch without CUDA asserts
        raise GptexError(f"there is no device {name!r} here: {str(error).splitlines()[0].partition('. ')[0]}") from None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    return device
