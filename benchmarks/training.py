"""An epoch of the trainer beside one of a bare torch loop, with the same net and the same textures in memory."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from copy import deepcopy
from functools import partial
from statistics import median

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import in_turn, seconds, table
from gptex.learn import Config, RecipeDataset, Regularizer, keep_memory
from gptex.learn.datasets import Item, Kept
from gptex.learn.loop import Trainer, train_batches
from gptex.learn.models import classifier
from gptex.learn.ranks import Ranks
from gptex.store.progress import progress
from gptex.store.workers import ONE_THREAD

TEXTURES, ROUNDS, STEPS = 40, 15, 8


def bare(net: nn.Module, textures: Dataset[Item], batch_size: int) -> None:
    """One epoch, with nothing counted."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    net.train()
    for images, labels in DataLoader(textures, batch_size, shuffle=True, drop_last=True):
        loss = functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
    """Print the tables. Both loops keep their memory; else page faults, now these, now those, are what is measured."""
    keep_memory()
    recipe = RecipeDataset("golkar-cranmer-2018", length=TEXTURES)
    textures, ranks = Kept(recipe), Ranks(0, 1, torch.device("cpu"))
    for model in ("tiny", "small", "paper"):
        config = Config(model=model, regularizer="backdrop:fine=0.5,coarse=0.8")
        net = classifier(model, len(recipe.classes), regularizer=config.regularizer)
        alone = deepcopy(net)
        trainer, batches = Trainer(net, config, recipe.contents, ranks), train_batches(textures, config, ranks)
        with progress("train", TEXTURES, show=False) as bar:
            calls = {
                "bare loop": lambda net=alone, config=config: bare(net, textures, config.batch_size),
                "gptex": lambda trainer=trainer, batches=batches, bar=bar: trainer.epoch(0, batches, bar),
                "bare loop, again": lambda net=alone, config=config: bare(net, textures, config.batch_size),
            }
            times = in_turn(calls, 3 if model == "paper" else ROUNDS)
        print(f"{model}, {TEXTURES} textures of 1024 x 1024")
        table(times, "bare loop")
    for model in ("small", "paper"):
        print(f"{model}, a step of five such images, in processes of their own")
        rounds = [(step(model, kept=False), step(model, kept=True)) for _ in range(3)]
        plain, kept = ([median(numbers) for numbers in zip(*runs, strict=True)] for runs in zip(*rounds, strict=True))
        table({"as glibc does": plain[0], "keep_memory()": kept[0]}, "as glibc does")
        print(f"peak of memory {kept[1] / plain[1]:.2f} x")


def step(model: str, kept: bool) -> tuple[float, float]:
    """Seconds of a step, and the peak of memory, in a new process with one thread."""
    command = [sys.executable, "-c", f"from benchmarks.training import steps; steps({model!r}, {kept})"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env={**os.environ, **ONE_THREAD})
    time, peak = map(float, done.stdout.split())
    return time, peak


def steps(model: str, kept: bool) -> None:
    """Print the median time of a step and the peak of memory of this process."""
    if kept:
        keep_memory()
    net = classifier(model, 4, regularizer=Regularizer.parse("backdrop:fine=0.5,coarse=0.8"))
    textures = [(image, number % 4) for number, image in enumerate(torch.randn(5, 1, 1024, 1024))]
    times = [seconds(partial(bare, net, textures, 5)) for _ in range(STEPS)]
    print(median(times), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
