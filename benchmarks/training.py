"""An epoch of `gptex train` beside one of a bare torch loop, with the same net and the same textures in memory."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader

from benchmarks.timing import in_turn, table
from gptex.learn import Config, RecipeDataset
from gptex.learn.datasets import Kept
from gptex.learn.loop import Trainer, train_batches
from gptex.learn.models import classifier
from gptex.learn.ranks import Ranks
from gptex.store.progress import progress

TEXTURES, ROUNDS = 40, 15


def bare(net: nn.Module, textures: Kept, batch_size: int) -> None:
    """One epoch, with nothing counted."""
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    net.train()
    for images, labels in DataLoader(textures, batch_size, shuffle=True, drop_last=True):
        loss = functional.cross_entropy(net(images), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def main() -> None:
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
