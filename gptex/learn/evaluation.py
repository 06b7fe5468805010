"""Test a trained net."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from torch import nn
from torch.utils.data import Dataset

from gptex.errors import GptexError
from gptex.learn.config import Config
from gptex.learn.datasets import Item, open
from gptex.learn.loop import all_batches, load_weights, precision
from gptex.learn.models import check_shape, net_of
from gptex.learn.parts import check_part, contents_of, share_of, training_parts
from gptex.learn.ranks import Ranks, check_alone, find_device
from gptex.learn.runs import Data, Run
from gptex.learn.scores import Score, finite, score
from gptex.recipe import Recipe
from gptex.store.progress import progress as show_progress


def evaluate(
    run: str | Path,
    source: Recipe | str | Path,
    part: str | None = None,
    *,
    checkpoint: Literal["last", "best"] = "last",
    net: nn.Module | None = None,
    batch_size: int | None = None,
    device: str = "auto",
    workers: int = 0,
    progress: bool = True,
) -> Score:
    """The score of a trained net on textures.

    Parameters
    ----------
    run : path
        The folder of a run.
    source : Recipe, str or path
        Of the textures: a dataset's folder, or a recipe, its file or a preset's name. Their size may be another one.
    part : str, optional
        A split, or the first so many textures of it: ``"test:400"``. By default what the run was tested on, be it a share of
        the training textures, or else the split test.
    checkpoint : {"last", "best"}
        The weights after the last epoch, or of the best epoch on validation data.
    net : nn.Module, optional
        If the run trained a net of one's own: one like it, into which the weights are loaded.
    batch_size : int, optional
        If not that of the training.
    device : str
    workers : int
        DataLoader workers.
    progress : bool
        Show how far it is.

    Raises
    ------
    GptexError
        If there is no such run, source or part, or the classes are not those that the net was trained on.
    """
    check_alone("evaluating")
    folder = Run(run)
    config, data = folder.read_config()
    dataset = _part_of(source, config, part)
    contents = contents_of(dataset)
    if Data.of(contents, {}).class_scales != data.class_scales:
        raise GptexError(
            f"{run} was trained on the classes {', '.join(data.classes)}, not on {', '.join(contents.classes)} of {source}"
        )
    own = net_of(config, len(data.classes), net)
    count = len(dataset)  # type: ignore[arg-type]
    if not count:
        raise GptexError(f"there are no textures in {part or 'the test data'} of {source}")
    check_shape(own, config, contents.shape)
    load_weights(own, folder.load(f"{checkpoint}.pt")["model"])
    ranks = Ranks(0, 1, find_device(device))
    batches = all_batches(dataset, config.replace(batch_size=batch_size or config.batch_size), ranks, workers)
    with precision(config, ranks), show_progress("test", count, progress) as bar:
        return finite(score(own.to(ranks.device), batches, contents, ranks, bar))


def _part_of(source: Recipe | str | Path, config: Config, part: str | None) -> Dataset[Item]:
    """The textures that are asked for, or those that the config says."""
    if part is None and config.test and share_of(config.test):
        return training_parts(source, config.train, config.val, config.test)["test"]
    name, _, count = check_part((config.test or "test") if part is None else part).partition(":")
    return open(source, name, length=int(count) if count else None)
