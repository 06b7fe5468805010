"""Which regularizer helps, and how surely: each is given the same search for its parameters, and then several seeds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gptex.catalog import is_folder
from gptex.errors import GptexError
from gptex.learn.config import Config
from gptex.learn.figures import plot_comparison
from gptex.learn.means import Mean
from gptex.learn.memory import keep_memory
from gptex.learn.models import net_of, smallest_side
from gptex.learn.parts import contents_of, training_parts
from gptex.learn.ranks import check_alone, find_device
from gptex.learn.regularizers import Regularizer
from gptex.learn.runs import RESULT, Data, Row, Run, csv_text, is_begun, read_json, write_json
from gptex.learn.training import MEMORY, DivergedError, check_possible, reference_of, train
from gptex.pictures import new_figure, save
from gptex.recipe import Recipe
from gptex.store.files import write_text
from gptex.store.folder import locked
from gptex.store.progress import counted
from gptex.store.progress import progress as show_progress
from gptex.store.workers import WorkerPool, available_cores
from gptex.trust.oracle import Oracle

SEARCH_SEED = 1_000_000  # no seed of the comparison
RATES = (3e-4, 3e-3)  # learning rates of a search
RANGES: dict[str, dict[str, tuple[float, float]]] = {  # … and of each method's parameters; {} has the learning rate alone
    "none": {},
    "backdrop": {"fine": (0.0, 0.95), "coarse": (0.0, 0.95)},
    "dropout": {"fine": (0.0, 0.6), "coarse": (0.0, 0.6)},
    "dropblock": {"fine": (0.0, 0.4), "coarse": (0.0, 0.4), "size": (1, 5)},
    "crop": {"share": (0.25, 1.0)},
}
COMPARISON, FORMAT = "comparison.json", "gptex comparison 1"
ENDS = {"last": "After the last epoch", "best": "At the best epoch on validation data"}


@dataclass(frozen=True)
class Arm:
    """A method of a comparison with what its runs reached, one a seed.

    Attributes
    ----------
    regularizer : Regularizer
    lr : float
    results : list of dict
        What the runs' result.json hold, in the order of seeds.
    histories : list of list of dict of str to float
        Their metrics.
    """

    regularizer: Regularizer
    lr: float
    results: list[dict[str, Any]]
    histories: list[list[Row]]

    def numbers(self, end: str, what: str) -> list[float]:
        """The test loss, accuracy, or accuracy of a component, of each seed, at the last or the best epoch."""
        scores = [result[end] for result in self.results]
        return [score[what] if what in ("loss", "accuracy") else score["components"][what] for score in scores]


@dataclass(frozen=True)
class Comparison:
    """What `compare` found.

    Attributes
    ----------
    folder : Path
    name : str
        Of the dataset.
    config : Config
        Of all runs, but for the seed, the regularizer, and the learning rate of a search.
    arms : list of Arm
        One a method, in the order asked for.
    reference : Oracle or None
        What the best classifier reaches, if that is known.
    no_reference : str
        Why it is not.
    """

    folder: Path
    name: str
    config: Config
    arms: list[Arm]
    reference: Oracle | None
    no_reference: str

    def rows(self, end: str) -> list[dict[str, str]]:
        """A table of the test data at the "last" or the "best" epoch: for each method means and intervals over seeds.

        The differences are from the first method, seed by seed.
        """
        first = self.arms[0]
        components = list(first.results[0][end]["components"])
        rows = []
        for arm in self.arms:
            accuracies = arm.numbers(end, "accuracy")
            differences = np.subtract(accuracies, first.numbers(end, "accuracy")).tolist()
            rows.append(
                {
                    "method": str(arm.regularizer),
                    "lr": f"{arm.lr:.2g}",
                    "accuracy": str(Mean.of(accuracies)),
                    f"minus {first.regularizer.method}'s": "" if arm is first else str(Mean.of(differences)),
                    **{name: str(Mean.of(arm.numbers(end, name))) for name in components},
                    "loss": str(Mean.of(arm.numbers(end, "loss"))),
                }
            )
        return rows

    def __str__(self) -> str:
        results = self.arms[0].results
        lines = [
            f"{self.name}: model {self.config.model}, {counted(self.config.epochs, 'epoch')}",
            f"Test data, {counted(results[0]['last']['textures'], 'texture')}: "
            f"mean {'' if len(results) == 1 else 'and 95 % interval '}over {counted(len(results), 'seed')}",
        ]
        for end, heading in ENDS.items():
            lines += ["", f"{heading}:", "", *_markdown(self.rows(end))]
        return "\n".join([*lines, "", f"reference: {self.reference or self.no_reference}"])


def _markdown(rows: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """The lines of a table, readable as they are."""
    widths = [max(len(row[name]) for row in [{name: name}, *rows]) for name in rows[0]]
    for cells in ([*rows[0]], ["-" * width for width in widths], *([*row.values()] for row in rows)):
        yield "| " + " | ".join(f"{cell:{width}}" for cell, width in zip(cells, widths, strict=True)) + " |"


def compare(
    source: Recipe | str | Path,
    out: str | Path,
    methods: Sequence[str | Regularizer] = tuple(RANGES),
    seeds: int = 5,
    config: Config | None = None,
    *,
    search: int = 0,
    redraw: bool = False,
    jobs: int | None = None,
    device: str = "auto",
    workers: int = 0,
    memory: int = MEMORY,
    progress: bool = True,
    **options: Any,
) -> Comparison:
    """Train with each of several regularizers, from each of several seeds, and compare what they reach on the test data.

    Runs that are finished are not repeated and others go on where they were: the same call continues an interrupted one.

    Parameters
    ----------
    source : Recipe, str or path
        A dataset's folder; or a recipe, its file or a preset's name.
    out : path
        A folder for the runs, the table (table.md, runs.csv) and the picture (comparison.png). Seeds and methods may be added
        later; the rest is as it began (comparison.json).
    methods : sequence of str or Regularizer
        ``"backdrop"`` or ``"backdrop:fine=0.3,coarse=0.95"``. The differences are those from the first.
    seeds : int
        Each method is trained from seeds 0, 1, …, which have the same order of textures in all of them.
    config : Config, optional
        Of all runs. There must be validation data and test data.
    search : int
        So many settings are tried for each method, of the learning rate and its parameters, spread over `RATES` and `RANGES`
        (Halton 1960), with a seed of their own, and the one of the best epoch on validation data is taken. 0 takes what is
        given.
    redraw : bool
        With a recipe: other training textures for each seed, split train-0 and so on, instead of the same for all.
    jobs : int, optional
        Runs at a time, each of one thread; by default one for each core, or a single one on a GPU.
    memory : int
        Bytes for textures, of all runs at a time together.
    device, workers, progress, **options
        As of `train`.

    Raises
    ------
    GptexError
        As `train`; without validation or test data; for methods that stand twice.
    """
    check_alone("a comparison")
    if taken := {"seed", "regularizer", *(["lr"] if search else [])} & set(options):
        raise GptexError(f"a comparison chooses {' and '.join(sorted(taken))} itself: leave it out")
    made = (config or Config()).replace(**options)
    new_figure()  # else hours later
    chosen = [method if isinstance(method, Regularizer) else Regularizer.parse(method) for method in methods]
    data = _data(source, made, chosen, seeds, redraw, search)
    folder, machine = Path(out), {"device": str(find_device(device)), "workers": workers}
    jobs = jobs or (available_cores() if machine["device"] == "cpu" else 1)
    machine["memory"] = memory // jobs
    alike = made.model_dump(mode="json", exclude={"seed", "regularizer"})
    textures = f"{data.name} (SHA-256 {data.sha256[:16]}…)"
    with _held(folder, {"format": FORMAT, "textures": textures, "search": search, "redraw": redraw, **alike}):
        plans = [made.replace(regularizer=regularizer) for regularizer in chosen]
        if search:
            trials = {
                folder / "search" / f"{plan.regularizer.method}-{number}": trial
                for plan in plans
                for number, trial in enumerate(_trials(plan, search, data))
            }
            _run_all("search", source, trials, data, machine, jobs, progress)
            plans = [_best(folder, trials, plan) for plan in plans]
        runs = {
            folder / plan.regularizer.method / f"seed-{seed}": plan.replace(seed=seed, train=_train_part(plan, seed, redraw))
            for plan in plans
            for seed in range(seeds)
        }
        if diverged := _run_all("compare", source, runs, data, machine, jobs, progress):
            names = ", ".join(f"{path.parent.name} {path.name}" for path in sorted(diverged))
            raise DivergedError(f"the loss of {names} is not finite in the end: compare without the method, or with a --warmup")
        arms = [_arm(folder, plan, seeds) for plan in plans]
        found = Comparison(folder, data.name, made, arms, *reference_of(source, progress))
        _write(found)
        return found


def _data(
    source: Recipe | str | Path, config: Config, methods: Sequence[Regularizer], seeds: int, redraw: bool, search: int
) -> Data:
    """What all runs learn from, if they can be made."""
    if seeds < 1 or search < 0 or not methods:
        raise GptexError("a comparison has at least one method and one seed, and a search of no setting or more")
    names = [str(regularizer.method) for regularizer in methods]
    for name in names:
        if names.count(name) > 1:
            raise GptexError(f"the method {name} stands twice")
    if config.model == "custom":
        raise GptexError("methods are compared on the nets of gptex: their layers are at places of these")
    if redraw and is_folder(source):
        raise GptexError(f"{source} is a folder, which has no other training textures to draw (--redraw): give a recipe")
    trained_on = dict.fromkeys(_train_part(config, seed, redraw) for seed in range(seeds))
    parts, *_ = [training_parts(source, part, config.val, config.test) for part in trained_on]  # the first stands for all
    for name, option in (("val", "validation"), ("test", "test")):
        if name not in parts:
            raise GptexError(f"a comparison needs {option} data: name a split or a share for them (--{name})")
    data = Data.of(contents_of(parts["train"]), parts)
    if search and "crop" in names and _least_share(config, data) >= 1:
        raise GptexError(f"the model {config.model} sees all of such small images: there are no crops to try, leave crop out")
    for regularizer in [Regularizer()] if search else methods:  # a search tries parameters that can be
        plan = config.replace(regularizer=regularizer)
        check_possible(net_of(plan, len(data.classes)), plan, data)
    return data


@contextmanager
def _held(folder: Path, record: dict[str, Any]) -> Iterator[None]:
    """Hold the folder for a comparison of this record, new or begun; else GptexError."""
    with locked(folder):
        if is_begun(folder, COMPARISON):
            before = read_json(folder / COMPARISON)
            for key, value in record.items():
                if before.get(key) != value:
                    raise GptexError(f"{folder} was begun with {key} {before.get(key)}, not {value}: use another folder")
        write_json(folder / COMPARISON, record)
        yield


def _train_part(config: Config, seed: int, redraw: bool) -> str:
    """What is trained on from a seed."""
    if not redraw:
        return config.train
    name, _, count = config.train.partition(":")
    if not count:
        raise GptexError(f"training textures that are drawn anew need their number: --train {name}:100")
    return f"{name}-{seed}:{count}"


def _trials(config: Config, count: int, data: Data) -> list[Config]:
    """So many settings of a method, spread evenly."""
    from scipy.stats import qmc

    ranges = dict(RANGES[config.regularizer.method])
    if "share" in ranges:
        ranges["share"] = max(ranges["share"][0], _least_share(config, data)), ranges["share"][1]
    points = qmc.Halton(1 + len(ranges), scramble=False)
    points.fast_forward(1)  # the first is the corner of all ranges
    trials = []
    for place, *rest in points.random(count).tolist():
        parameters = {name: low + share * (high - low) for share, (name, (low, high)) in zip(rest, ranges.items(), strict=True)}
        if "size" in parameters:
            parameters["size"] = round(parameters["size"])
        trials.append(
            config.replace(
                lr=float(f"{RATES[0] * (RATES[1] / RATES[0]) ** place:.2g}"),
                regularizer={
                    "method": config.regularizer.method,
                    "parameters": {name: round(value, 3) for name, value in parameters.items()},
                },
                seed=SEARCH_SEED,
            )
        )
    return trials


def _least_share(config: Config, data: Data) -> float:
    """The share of an image's side that the net needs."""
    return smallest_side(net_of(config, len(data.classes))) / min(data.shape)


def _best(folder: Path, trials: Mapping[Path, Config], plan: Config) -> Config:
    """`plan` with the settings of the best of its method's trials: by accuracy on validation data, then by loss."""
    own = {
        path: trial
        for path, trial in trials.items()
        if trial.regularizer.method == plan.regularizer.method and (path / RESULT).exists()
    }
    if not own:
        raise GptexError(
            f"no setting of {plan.regularizer.method} in the search ended with a finite loss: leave the method out"
        )

    def merit(path: Path) -> tuple[float, float]:
        row = Run(path).state().best or {}
        return row["val_accuracy"], -row["val_loss"]

    found = own[max(own, key=merit)]
    return plan.replace(lr=found.lr, regularizer=found.regularizer)


def _run_all(
    what: str,
    source: Recipe | str | Path,
    runs: Mapping[Path, Config],
    data: Data,
    machine: Mapping[str, Any],
    jobs: int,
    progress: bool,
) -> list[Path]:
    """Make the runs that are not finished; those that diverge are told when all others are."""
    missing = {path: config for path, config in runs.items() if not Run(path).finished(config, data)}
    textures = {path: config.epochs * data.textures["train"] for path, config in missing.items()}
    size = 4 * math.prod(data.shape)  # of an image, as the net gets it
    diverged: list[Path] = []
    pool = WorkerPool(jobs)
    try:
        with show_progress(what, sum(textures.values()), progress) as bar:
            futures = {pool.submit(_run, source, path, config, **machine): path for path, config in missing.items()}
            for number, future in enumerate(as_completed(futures), 1):
                path = futures[future]
                try:
                    future.result()
                except DivergedError:
                    diverged.append(path)
                bar.note(f"{number} of {counted(len(futures), 'run')}, the last one {path.parent.name} {path.name}")
                bar.add(textures[path], textures[path] * size)
    except BaseException:
        pool.kill()  # what they have done is on disk
        raise
    pool.shutdown()
    return diverged


def _run(source: Recipe | str | Path, path: Path, config: Config, **machine: Any) -> None:
    keep_memory()
    train(source, path, config, **machine, resume=True, plots=False, reference=False, progress=False)


def _arm(folder: Path, plan: Config, seeds: int) -> Arm:
    runs = [Run(folder / plan.regularizer.method / f"seed-{seed}") for seed in range(seeds)]
    return Arm(plan.regularizer, plan.lr, [run.read_result() for run in runs], [run.state().history for run in runs])


def _write(found: Comparison) -> None:
    """The table, the numbers of all runs, and the picture."""
    write_text(found.folder / "table.md", f"{found}\n")
    write_text(found.folder / "runs.csv", csv_text(list(_numbers(found.arms))))
    save(plot_comparison(found.arms, found.reference), found.folder / "comparison.png", dpi=110)


def _numbers(arms: Sequence[Arm]) -> Iterator[dict[str, Any]]:
    """A row for each run and each end."""
    for arm in arms:
        for seed, result in enumerate(arm.results):
            for end in ENDS:
                score = result[end]
                yield {
                    "method": arm.regularizer.method,
                    "parameters": str(arm.regularizer).partition(":")[2],
                    "lr": arm.lr,
                    "seed": seed,
                    "end": end,
                    "epoch": result["best_epoch"] if end == "best" else result["epochs"],
                    "accuracy": score["accuracy"],
                    **{f"accuracy_{name}": share for name, share in score["components"].items()},
                    "loss": score["loss"],
                }
