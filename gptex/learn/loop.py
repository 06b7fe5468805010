"""The training loop: plain torch, to be read and copied."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import nn
from torch.nn import functional
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, Dataset, Subset

from gptex.errors import GptexError
from gptex.fields.streams import stream
from gptex.learn.config import Config
from gptex.learn.datasets import Item
from gptex.learn.ranks import Ranks
from gptex.learn.regularizers import SampleNoise, random_crop
from gptex.learn.scores import Score, Tally, moved, score
from gptex.learn.shuffle import ShardShuffle
from gptex.store.progress import Progress
from gptex.store.source import Contents

NOTE_SECONDS = 1.0
AMP = {"none": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Batches = DataLoader[Item]


class Trainer:
    """A net with its optimizer, in one of the processes that train it.

    Parameters
    ----------
    net : nn.Module
        From images (N, 1, H, W) to logits (N, n_classes).
    config : Config
    contents : Recipe or Source
        What the textures are of.
    ranks : Ranks
    compile : bool
        Train with `torch.compile`.
    """

    def __init__(self, net: nn.Module, config: Config, contents: Contents, ranks: Ranks, compile: bool = False) -> None:
        self.config, self.contents, self.ranks = config, contents, ranks
        self.net = net.to(ranks.device)
        if config.amp != "none":
            for parameter in net.parameters():
                if parameter.ndim == 4:  # of 2-D convolutions: a third quicker so in bfloat16, slower in float32
                    parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
        for module in self.net.modules():
            if isinstance(module, SampleNoise):
                module.rank, module.world_size = ranks.rank, ranks.world_size
        self.optimizer = make_optimizer(config, self.net)
        self.scaler = torch.amp.GradScaler(ranks.device.type, enabled=config.amp == "fp16")
        self.model: nn.Module = DistributedDataParallel(self.net) if ranks.world_size > 1 else self.net
        if compile:
            self.model = torch.compile(self.model)  # type: ignore[assignment]

    def epoch(self, number: int, batches: Batches, bar: Progress) -> Score:
        """Train for epoch `number`, counted from 0, on `train_batches`; the score of the textures as they were seen.

        All that is random in it depends on the seed and the number alone, so a run can be taken up before any epoch.
        """
        config, ranks = self.config, self.ranks
        torch.manual_seed(seed_of(config.seed, 1 + number))
        for group in self.optimizer.param_groups:
            group["lr"] = config.rate(number)
        cast("ShardShuffle", batches.sampler).set_epoch(number)
        self.model.train()
        tally, noted = Tally(self.contents, ranks.device), time.monotonic()
        for whole, labels in moved(batches, ranks.device):
            images = whole
            if config.regularizer.method == "crop":
                images = random_crop(whole, config.regularizer.parameters["share"], ranks.rank, ranks.world_size)
            with precision(config, ranks):
                logits = self.model(images)
                loss = functional.cross_entropy(logits.float(), labels)
            self.optimizer.zero_grad()
            self.scaler.scale(loss).backward()  # type: ignore[no-untyped-call]
            self.scaler.step(self.optimizer)
            self.scaler.update()
            tally.add(logits, labels, loss)
            bar.add(len(labels) * ranks.world_size, whole.nbytes * ranks.world_size)
            if time.monotonic() - noted > NOTE_SECONDS:
                bar.note(f"epoch {number + 1}, {tally}")
                noted = time.monotonic()
        return tally.score(ranks)

    def score(self, batches: Batches, bar: Progress | None = None) -> Score:
        """The score of the net as it is, in evaluation mode."""
        with precision(self.config, self.ranks):
            return score(self.net, batches, self.contents, self.ranks, bar)

    def state(self) -> dict[str, Any]:
        """What going on needs."""
        return {"model": self.net.state_dict(), "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from `state`."""
        load_weights(self.net, state["model"])
        try:
            self.optimizer.load_state_dict(state["optimizer"])
            self.scaler.load_state_dict(state["scaler"])
        except (RuntimeError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise GptexError(f"the checkpoint has the optimizer of another run: {error}") from None


def precision(config: Config, ranks: Ranks) -> torch.autocast:
    """What the config's `amp` asks for, as a context."""
    return torch.autocast(ranks.device.type, AMP[config.amp], enabled=config.amp != "none")


def load_weights(net: nn.Module, weights: Mapping[str, Any]) -> None:
    """Load weights into the net; GptexError if they are of another one."""
    try:
        net.load_state_dict(weights)
    except (RuntimeError, TypeError, AttributeError) as error:
        raise GptexError(
            f"the checkpoint has the weights of another net than the config says: {str(error).splitlines()[-1].strip()}"
        ) from None


def make_optimizer(config: Config, net: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that the config names; the learning rate is that of the first epoch."""
    rate, decay = config.rate(0), config.weight_decay
    if config.optimizer == "sgd":
        return torch.optim.SGD(net.parameters(), rate, momentum=0.9, weight_decay=decay)
    kind = torch.optim.AdamW if config.optimizer == "adamw" else torch.optim.Adam
    return kind(net.parameters(), rate, weight_decay=decay)


def train_batches(dataset: Dataset[Item], config: Config, ranks: Ranks, workers: int = 0) -> Batches:
    """This process's rows of whole batches in random order; all processes together have those that one would have."""
    order = ShardShuffle(dataset, seed=config.seed, rank=ranks.rank, world_size=ranks.world_size, drop_last=True)
    return _loader(dataset, config.batch_size // ranks.world_size, ranks, workers, sampler=order, drop_last=True)


def all_batches(dataset: Dataset[Item], config: Config, ranks: Ranks, workers: int = 0) -> Batches:
    """This process's share of all textures, in order."""
    count = len(dataset)  # type: ignore[arg-type]
    own = Subset(dataset, range(ranks.rank, count, ranks.world_size))
    return _loader(own, config.batch_size, ranks, workers)


def _loader(dataset: Dataset[Item], batch_size: int, ranks: Ranks, workers: int, **options: Any) -> Batches:
    return DataLoader(
        dataset,
        batch_size,
        num_workers=workers,
        persistent_workers=workers > 0,
        pin_memory=ranks.device.type == "cuda",
        generator=torch.Generator(),  # else a loader draws from torch's own, which belongs to the masks
        **options,
    )


def seed_of(seed: int, number: int) -> int:
    """A seed for torch, which takes 64 bits."""
    return stream(seed, number).random_raw()
