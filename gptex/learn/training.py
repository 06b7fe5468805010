"""Train a net to name the classes of textures, in runs that go on after any interruption as if there had been none."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import Dataset

from gptex.errors import GptexError, MissingExtraError
from gptex.learn.config import Config
from gptex.learn.datasets import Item, Kept, in_memory
from gptex.learn.figures import plot_confusion, plot_curves
from gptex.learn.loop import Trainer, all_batches, load_weights, seed_of, train_batches
from gptex.learn.models import check_shape, net_of
from gptex.learn.parts import contents_of, training_parts
from gptex.learn.ranks import joined
from gptex.learn.runs import CONFUSION, CURVES, LAST, Data, Row, Run, State
from gptex.learn.scores import Score, finite
from gptex.pictures import new_figure, save
from gptex.recipe import Recipe
from gptex.store.progress import counted
from gptex.store.progress import progress as show_progress
from gptex.store.source import Contents
from gptex.trust.oracle import Oracle, oracle

MEMORY = 2**31


class DivergedError(GptexError):
    """The loss of an epoch is not finite."""


@dataclass(frozen=True)
class Result:
    """How a run ended.

    Attributes
    ----------
    folder : Path
    history : list of dict of str to float
        A row of the metrics for each epoch.
    parameters : int
        Of the net.
    last : Score or None
        On the test data, after the last epoch; None where there are none.
    best : Score or None
        On the test data, with the weights of the best epoch on validation data.
    best_epoch : int or None
        Its number, from 1.
    reference : Oracle or None
        What the best classifier reaches on these classes.
    no_reference : str
        Why there is none.
    """

    folder: Path
    history: list[Row]
    parameters: int
    last: Score | None
    best: Score | None
    best_epoch: int | None
    reference: Oracle | None
    no_reference: str

    def as_json(self) -> dict[str, Any]:
        """What `result.json` holds: all but the metrics, which have a file of their own."""
        plain = asdict(self)
        return {"epochs": len(self.history), **{key: plain[key] for key in plain if key not in ("folder", "history")}}

    def __str__(self) -> str:
        epochs = len(self.history)
        train = ", ".join(f"{name} {self.history[-1][f'train_{name}']:.4f}" for name in ("loss", "accuracy"))
        lines = [f"{self.folder}: {self.parameters} parameters, {counted(epochs, 'epoch')}, training {train}"]
        if self.last:
            lines.append(f"test, last epoch: {self.last}")
        if self.best:
            lines.append(f"test, best epoch on validation data ({self.best_epoch}): {self.best}")
        if not self.last:
            lines.append("no test data: name a split or a share for them (--test)")
        lines.append(f"reference: {self.reference or self.no_reference}")
        return "\n".join(lines)


def train(
    source: Recipe | str | Path,
    out: str | Path,
    config: Config | None = None,
    *,
    net: nn.Module | None = None,
    device: str = "auto",
    compile: bool = False,
    workers: int = 0,
    memory: int = MEMORY,
    resume: bool = False,
    plots: bool = True,
    tensorboard: bool = False,
    reference: bool = True,
    progress: bool = True,
    **options: Any,
) -> Result:
    """Train a net to name the classes of textures, and test it.

    Under torchrun each process takes its rows of each batch, and the result is that of one process but for rounding.

    Parameters
    ----------
    source : Recipe, str or path
        A dataset's folder; or a recipe, its file or a preset's name, whose textures are drawn.
    out : path
        The run's folder, see `gptex.learn.runs`.
    config : Config, optional
    net : nn.Module, optional
        A net of one's own, from images (N, 1, H, W) to logits (N, n_classes); it is trained in place.
    device : str
        "auto" takes a GPU if there is one.
    compile : bool
        Train with `torch.compile`.
    workers : int
        DataLoader workers.
    memory : int
        Textures to train and to validate on are kept in memory if they take at most so many bytes.
    resume : bool
        Go on with the run in `out`, if there is one: with the same config, or with more epochs at a constant rate.
    plots : bool
        Draw the curves and the confusion matrix.
    tensorboard : bool
        Write the metrics for TensorBoard too, into the folder `tensorboard` of the run.
    reference : bool
        Ask `gptex.oracle` what the best classifier reaches.
    progress : bool
        Show how far it is.
    **options
        Of the config, instead of those it has: ``epochs=20, regularizer="backdrop:fine=0.5,coarse=0.8"``.

    Raises
    ------
    GptexError
        For options, sources and parts that cannot be, images too small for the net, a run that is there already, and a
        loss that is not finite.
    MissingExtraError
        Without matplotlib, if there are plots to draw, and so on.

    Examples
    --------
    >>> import gptex, tempfile
    >>> scales = gptex.Component(name="only", length_scales=[2, 9])
    >>> recipe = gptex.Recipe(name="easy", shape=[64, 64], components=[scales], splits={"train": 8, "test": 8})
    >>> with tempfile.TemporaryDirectory() as out:
    ...     result = train(recipe, out, model="tiny", epochs=8, lr=0.01, plots=False, device="cpu", progress=False)
    >>> len(result.history), result.last.textures, list(result.last.components)
    (8, 16, ['only'])
    """
    made = (config or Config()).replace(**{**({"model": "custom"} if net is not None else {}), **options})
    if net is not None and made.model != "custom":
        raise GptexError(f"there are two nets: the one given (net=), and the model {made.model}")
    if workers < 0:
        raise GptexError(f"there are 0 workers or more, not {workers}")
    if plots:
        new_figure()  # else hours later
    ranks = joined(device)
    with torch.random.fork_rng([ranks.device] if ranks.device.type == "cuda" else []):
        parts = training_parts(source, made.train, made.val, made.test)
        contents = contents_of(parts["train"])
        data = Data.of(contents, parts)
        torch.manual_seed(seed_of(made.seed, 0))
        learner = net_of(made, contents.n_classes, net)
        check_possible(learner, made, data, ranks.world_size)
        trainer, run = Trainer(learner, made, contents, ranks, compile), Run(out)
        with ranks.held_by_first(lambda: _begun(run, made, data, resume, tensorboard)) as board:
            state = _epochs(trainer, run, parts, workers, memory, board, progress and ranks.first)
            result = _tested(trainer, run, state, parts, workers, progress and ranks.first)
            if ranks.first:
                if reference:
                    found, why = reference_of(source, progress)
                    result = replace(result, reference=found, no_reference=why)
                run.write_result(result.as_json())
                if plots:
                    _draw(result, contents)
            ranks.wait()
    return result


@contextmanager
def _begun(run: Run, config: Config, data: Data, resume: bool, tensorboard: bool) -> Iterator[Any]:
    """Hold the run's folder; with a writer for TensorBoard, if there is to be one."""
    if not tensorboard:
        with run.begun(config, data, resume):
            yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise MissingExtraError(
            "TensorBoard's files need tensorboard, which the extra gptex[tensorboard] brings: pip install tensorboard"
        ) from None
    with run.begun(config, data, resume), SummaryWriter(run.folder / "tensorboard") as writer:
        yield writer


def _epochs(
    trainer: Trainer, run: Run, parts: dict[str, Dataset[Item]], workers: int, memory: int, board: Any, progress: bool
) -> State:
    """Train from where the run is to its end."""
    config, ranks, state = trainer.config, trainer.ranks, State()
    if (run.folder / LAST).exists():
        checkpoint = run.load()
        state = State.of(checkpoint)
        trainer.load(checkpoint)
        if ranks.first and state.best:
            run.write_best(state, checkpoint["model"])  # should what is written after last.pt be missing
            run.load_best(state)
    if state.epoch >= config.epochs:
        return state
    learned = {name: part for name, part in parts.items() if name != "test"}
    kept = in_memory(learned, memory)
    workers = 0 if isinstance(kept["train"], Kept) else workers  # who would copy what is in memory to other processes
    train = train_batches(kept["train"], config, ranks, workers)
    val = all_batches(kept["val"], config, ranks, workers) if "val" in kept else None
    seen = len(train) * config.batch_size
    with show_progress("train", (config.epochs - state.epoch) * seen, progress) as bar:
        for number in range(state.epoch, config.epochs):
            start = time.monotonic()
            scores = {"train": trainer.epoch(number, train, bar)}
            if val:
                scores["val"] = trainer.score(val)
            if not all(math.isfinite(each.loss) for each in scores.values()):
                told = ", ".join(f"{name} {each.loss}" for name, each in scores.items())
                raise DivergedError(
                    f"the loss of epoch {number + 1} is not finite ({told}); {run.folder} has the {number} before it. If "
                    "the images are finite (`gptex verify --stats`), begin elsewhere with a lower learning rate (--lr)"
                )
            row: Row = {"epoch": number + 1, "lr": config.rate(number)}
            for name, each in scores.items():
                row |= {f"{name}_loss": each.loss, f"{name}_accuracy": each.accuracy}
                row |= {f"{name}_accuracy_{component}": share for component, share in each.components.items()}
            row["seconds"] = time.monotonic() - start
            state.epoch, state.history = number + 1, [*state.history, row]
            if ranks.first:
                run.forget_result()
                run.save(state, trainer.state())
            if board:
                for name, value in row.items():
                    board.add_scalar(name.replace("_", "/", 1), value, number + 1)
            told = ", ".join(f"{name} loss {each.loss:.3f}, accuracy {each.accuracy:.3f}" for name, each in scores.items())
            bar.note(f"epoch {number + 1}: {told}")
    ranks.wait()
    return state


def _tested(trainer: Trainer, run: Run, state: State, parts: dict[str, Dataset[Item]], workers: int, progress: bool) -> Result:
    """The scores on the test data."""
    last = best = None
    if "test" in parts:
        test = all_batches(parts["test"], trainer.config, trainer.ranks, workers)

        def tested() -> Score:
            with show_progress("test", len(parts["test"]), progress) as bar:  # type: ignore[arg-type]
                return finite(trainer.score(test, bar))

        last = tested()
        if state.best is state.history[-1]:
            best = last
        elif state.best:
            load_weights(trainer.net, run.load_best(state)["model"])
            best = tested()
            load_weights(trainer.net, run.load()["model"])
    return Result(
        folder=run.folder,
        history=state.history,
        parameters=sum(parameter.numel() for parameter in trainer.net.parameters()),
        last=last,
        best=best,
        best_epoch=int(state.best["epoch"]) if state.best else None,
        reference=None,
        no_reference="not asked for",
    )


def reference_of(source: Recipe | str | Path, progress: bool) -> tuple[Oracle | None, str]:
    """What the best classifier reaches, or why that is not known."""
    try:
        return oracle(source, progress=progress), ""
    except GptexError as error:  # textures from elsewhere may have no theory
        return None, str(error)


def _draw(result: Result, contents: Contents) -> None:
    """The pictures of a run."""
    reference = result.reference.accuracy if result.reference else None
    figures = {CURVES: plot_curves(result.history, 1 / contents.n_classes, result.best_epoch, result.last, reference)}
    if result.last:
        figures[CONFUSION] = plot_confusion(result.last, contents.classes, "test data, last epoch")
    for name, figure in figures.items():
        save(figure, result.folder / name, dpi=120)


def check_possible(net: nn.Module, config: Config, data: Data, world_size: int = 1) -> None:
    """Refuse before anything is written what would fail later."""
    if data.textures["train"] < config.batch_size:
        raise GptexError(f"a batch has {config.batch_size} textures, and there are {data.textures['train']} to train on")
    if config.batch_size % world_size:
        raise GptexError(f"a batch of {config.batch_size} cannot be shared equally among {world_size} processes")
    check_shape(net, config, data.shape, config.regularizer.parameters.get("share", 1.0))
