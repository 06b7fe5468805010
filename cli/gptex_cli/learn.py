"""`gptex train`, `gptex evaluate` and `gptex compare`: nets that name the classes of textures."""

from __future__ import annotations

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.core import ParameterSource

from gptex_cli.options import Bytes, add

if TYPE_CHECKING:
    from gptex.learn.regularizers import Regularizer

METHODS = ["none", "backdrop", "dropout", "dropblock", "crop"]

METHOD_OPTIONS: list[Any] = [
    click.option("--backdrop", metavar="fine=P,coarse=P", help="Drop probabilities of gradient.  [default: 0.3, 0.95]"),
    click.option("--dropout", metavar="fine=P,coarse=P", help="Drop probabilities of elements.  [default: 0.1, 0.3]"),
    click.option("--dropblock", metavar="fine=P,coarse=P,size=N", help="Of blocks, and their size.  [default: 0.1, 0.1, 3]"),
    click.option("--crop", metavar="share=S", help="Side of random crops, as a share of the image's.  [default: 0.5]"),
]
CONFIG_OPTIONS: list[Any] = [
    click.option("--model", type=click.Choice(["paper", "small", "tiny"]), default="small", show_default=True, help="The net."),
    click.option("--channels", type=click.IntRange(min=1), help="Of each convolution.  [default: the model's]"),
    click.option(
        "--train", metavar="PART", default="train", show_default=True, help="A split, or its first so many: train:100."
    ),
    click.option("--val", metavar="PART|SHARE", help="The same, or a share of --train: 0.2.  [default: split val, if counted]"),
    click.option("--test", metavar="PART|SHARE", help="The same for the test.  [default: split test, if counted]"),
    click.option("--epochs", type=click.IntRange(min=1), default=100, show_default=True),
    click.option("--batch-size", type=click.IntRange(min=1), default=5, show_default=True, help="Of all processes together."),
    click.option("--optimizer", type=click.Choice(["adam", "adamw", "sgd"]), default="adam", show_default=True),
    click.option("--lr", type=float, default=1e-3, show_default=True, help="Learning rate."),
    click.option("--schedule", type=click.Choice(["constant", "cosine"]), default="constant", show_default=True, help="Of it."),
    click.option("--warmup", type=click.IntRange(min=0), default=0, show_default=True, help="Epochs in which it rises."),
    click.option("--weight-decay", type=float, default=0.0, show_default=True),
    click.option(
        "--amp", type=click.Choice(["none", "bf16", "fp16"]), default="none", show_default=True, help="Mixed precision."
    ),
]
MACHINE_OPTIONS: list[Any] = [
    click.option(
        "--device", default="auto", show_default=True, help="cpu, cuda, cuda:1, mps; auto takes a GPU if there is one."
    ),
    click.option("--workers", type=click.IntRange(min=0), default=0, show_default=True, help="Processes that read or draw."),
    click.option("--memory", type=Bytes(), default="2GiB", show_default=True, help="For textures to be kept in memory."),
]


@click.command()
@click.argument("data", metavar="PATH|RECIPE")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="RUN", help="The run's folder.")
@click.option("--regularizer", type=click.Choice(METHODS), help="Or its parameters:  [default: none]")
@add(METHOD_OPTIONS)
@add(CONFIG_OPTIONS)
@click.option("--seed", type=int, default=0, show_default=True, help="Of weights, order and masks.")
@add(MACHINE_OPTIONS)
@click.option("--compile", is_flag=True, help="Train with torch.compile.")
@click.option("--resume", is_flag=True, help="Go on with the run in RUN, if there is one.")
@click.option("--plots/--no-plots", default=True, help="Draw the curves and the confusion matrix.")
@click.option("--tensorboard", is_flag=True, help="Write the metrics for TensorBoard too.")
@click.option("--reference/--no-reference", default=True, help="Say what the best classifier reaches.")
@click.option("--quiet", is_flag=True, help="No progress bar and no report.")
def train(data: str, out: Path, quiet: bool, **options: Any) -> None:
    """Train a net to name the classes of textures, and test it.

    The textures are those of a dataset folder, or drawn from a recipe's file or a preset. Under torchrun several processes
    share each batch.

    \b
    Examples:
      gptex train textures --out run --val 0.2
      gptex train golkar-cranmer-2018 --out run --backdrop fine=0.3,coarse=0.95 --val val:100 --test test:400
      torchrun --nproc-per-node 2 --no-python gptex train textures --out run --batch-size 8
    """
    given = {method: options.pop(method) for method in METHODS[1:]}
    chosen = _regularizer(options.pop("regularizer"), given)

    from gptex.learn import keep_memory, train

    keep_memory()
    result = train(data, out, regularizer=chosen, progress=not quiet, **options)
    if not quiet and speaks():
        click.echo(str(result))


def speaks() -> bool:
    """Whether this process is the one that speaks, of those that torchrun has started."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _regularizer(name: str | None, given: dict[str, str | None]) -> Regularizer:
    """The regularizer that the options ask for."""
    named = [method for method, text in given.items() if text is not None]
    if len(named) > 1:
        raise click.UsageError(f"--{named[0]} and --{named[1]} are two regularizers: use one")
    if name and named and named[0] != name:
        raise click.UsageError(f"--{named[0]} has the parameters of another regularizer than {name}")
    from gptex.learn.regularizers import Regularizer

    method = name or (named[0] if named else "none")
    return Regularizer.parse(f"{method}:{given[method]}" if named else method)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", metavar="PATH|RECIPE")
@click.option("--part", help="A split, or its first so many: test:400.  [default: what the run was tested on]")
@click.option("--checkpoint", type=click.Choice(["last", "best"]), default="last", show_default=True, help="Of which epoch.")
@click.option("--batch-size", type=click.IntRange(min=1), help="[default: that of the training]")
@add(MACHINE_OPTIONS[:2])
@click.option("-o", "--output", type=click.Path(path_type=Path), help="Draw the confusion matrix: .png, .pdf or .svg.")
@click.option("--json", "as_json", is_flag=True, help="As JSON, for programs.")
@click.option("--quiet", is_flag=True, help="No progress bar.")
def evaluate(run: Path, data: str, output: Path | None, as_json: bool, quiet: bool, **options: Any) -> None:
    """Test the net of the run in RUN on textures of a dataset folder, a recipe's file or a preset.

    \b
    Example:
      gptex evaluate run textures --part val --checkpoint best
    """
    from gptex.learn import evaluate, keep_memory
    from gptex.learn.figures import plot_confusion
    from gptex.learn.runs import Run
    from gptex.pictures import check_picture, save

    if output:
        check_picture(output)
    keep_memory()
    score = evaluate(run, data, progress=not quiet, **options)
    click.echo(json.dumps(asdict(score), indent=1, ensure_ascii=False) if as_json else str(score))
    if output:
        _, trained = Run(run).read_config()
        title = f"{run}, {options['checkpoint']} epoch\n{data}, {options['part'] or 'test data'}"
        save(plot_confusion(score, trained.classes, title), output, dpi=120)


@click.command()
@click.argument("data", metavar="PATH|RECIPE")
@click.option("-o", "--out", type=click.Path(path_type=Path), required=True, metavar="DIR", help="For the runs and the table.")
@click.option("--methods", metavar="LIST", default=",".join(METHODS), show_default=True, help="Regularizers to compare.")
@add(METHOD_OPTIONS)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True, help="Runs of each method.")
@click.option(
    "--search", type=click.IntRange(min=0), default=0, show_default=True, help="Settings to try for each method first."
)
@click.option("--redraw", is_flag=True, help="With a recipe: other training textures for each seed.")
@add(CONFIG_OPTIONS)
@click.option("--jobs", type=click.IntRange(min=1), help="Runs at a time.  [default: one for each core; on a GPU 1]")
@add(MACHINE_OPTIONS)
@click.option("--quiet", is_flag=True, help="No progress bar and no table.")
def compare(data: str, out: Path, methods: str, quiet: bool, **options: Any) -> None:
    """Train with several regularizers from several seeds, and compare what they reach on test data.

    With --search so many settings of learning rate and parameters are tried for each method, and the best one on validation
    data is taken. The same command goes on after an interruption.

    \b
    Example:
      gptex compare golkar-cranmer-2018 --out comparison --val val:100 --test test:400 --search 8
    """
    given = {method: options.pop(method) for method in METHODS[1:]}
    names = [name.strip() for name in methods.split(",")]
    if options["search"] and click.get_current_context().get_parameter_source("lr") is ParameterSource.DEFAULT:
        del options["lr"]
    for method, text in given.items():
        if text is not None and (options["search"] or method not in names):
            why = "are searched for" if options["search"] else "are of none of --methods"
            raise click.UsageError(f"the parameters of --{method} {why}")
    texts = [f"{name}:{given[name]}" if given.get(name) else name for name in names]
    from gptex.learn import compare

    found = compare(data, out, texts, progress=not quiet, **options)
    if not quiet:
        click.echo(str(found))
