"""The folder of a run: its config, what was measured epoch by epoch, checkpoints, pictures and the result.

    RUN/config.json     how it was trained and on what
    RUN/metrics.csv     a line an epoch
    RUN/last.pt         all that going on needs; torch.load(…, weights_only=True) reads it
    RUN/best.pt         the weights of the best epoch on validation data
    RUN/result.json     scores on the test data, and the reference
    RUN/curves.png, RUN/confusion.png

Each file is whole or not there. A run goes on from `last.pt`, which holds the metrics too.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import pickle
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import torch
from pydantic import TypeAdapter, ValidationError
from torch.utils.data import Dataset

from gptex.errors import GptexError
from gptex.learn.config import Config
from gptex.learn.datasets import Item
from gptex.learn.scores import Score
from gptex.store.files import replacing, write_text
from gptex.store.folder import locked
from gptex.store.source import Contents

CONFIG, METRICS, LAST, BEST, RESULT = "config.json", "metrics.csv", "last.pt", "best.pt", "result.json"
CURVES, CONFUSION = "curves.png", "confusion.png"
FORMAT = "gptex run 1"
UNREADABLE = (  # what zipfile and torch raise of damage; its weights_only loader runs no code of the file
    *(OSError, EOFError, RuntimeError, pickle.UnpicklingError, zipfile.BadZipFile, zlib.error),
    *(ValueError, LookupError, TypeError, AttributeError, AssertionError),
)
Row = dict[str, float]
SCORE = TypeAdapter(Score | None)


@dataclass(frozen=True)
class Data:
    """What a run learns from: enough to tell whether it is the same again, and to name what the net says.

    Attributes
    ----------
    name : str
    sha256 : str
        Of the recipe, but for its counts, or the source.
    shape : tuple of int
        Pixels of each axis.
    classes : tuple of str
    class_scales : tuple of tuple of float
        Length scales in pixels of each class.
    textures : dict of str to int
        Of each part.
    """

    name: str
    sha256: str
    shape: tuple[int, ...]
    classes: tuple[str, ...]
    class_scales: tuple[tuple[float, ...], ...]
    textures: dict[str, int]

    @classmethod
    def of(cls, contents: Contents, parts: Mapping[str, Dataset[Item]]) -> Self:
        """The data of these parts."""
        plain = {key: value for key, value in json.loads(contents.to_json()).items() if key != "splits"}
        digest = hashlib.sha256(json.dumps(plain, sort_keys=True).encode()).hexdigest()
        scales = tuple(contents.length_scales(label) for label in range(contents.n_classes))
        counts = {name: len(part) for name, part in parts.items()}  # type: ignore[arg-type]
        return cls(contents.name, digest, contents.shape, contents.classes, scales, counts)


@dataclass
class State:
    """Where a run is: its epochs so far, and the best of them.

    Attributes
    ----------
    epoch : int
        Epochs that are done.
    history : list of dict of str to float
        A row of the metrics for each.
    """

    epoch: int = 0
    history: list[Row] = field(default_factory=list)

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> Self:
        """That of a checkpoint; GptexError if it does not say."""
        epoch, history = checkpoint["epoch"], checkpoint["history"]
        rows = history if isinstance(history, list) and all(isinstance(row, dict) for row in history) else []
        numbers = all(isinstance(value, int | float) for row in rows for value in row.values())
        alike = len({tuple(row) for row in rows}) == 1
        if not (alike and numbers and [row.get("epoch") for row in rows] == [*range(1, len(rows) + 1)] and len(rows) == epoch):
            raise GptexError("the checkpoint's epochs are not those of its metrics: it is damaged, or not of this run")
        return cls(int(epoch), history)

    @property
    def best(self) -> Row | None:
        """The row of the best epoch: of the highest accuracy on validation data, and of those the one of least loss."""
        rows = [row for row in self.history if "val_accuracy" in row]
        return max(rows, key=lambda row: (row["val_accuracy"], -row["val_loss"]), default=None)


class Run:
    """The folder of a run.

    Parameters
    ----------
    folder : path

    Raises
    ------
    GptexError
        When something is read that is not there or damaged.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    @contextmanager
    def begun(self, config: Config, data: Data, resume: bool) -> Iterator[None]:
        """Hold the folder for a run with this config and data, new or to be resumed.

        Raises
        ------
        GptexError
            If there is a run and it is not to be resumed, or it had another config or other data.
        """
        with locked(self.folder):
            if is_begun(self.folder, CONFIG):
                if not resume:
                    raise GptexError(f"{self.folder} holds a run already: resume it (--resume), or use another folder")
                self._check_same(config, data)
            versions = {name: version(name) for name in ("gptex", "torch")}
            record = {"format": FORMAT, "versions": versions, "config": config.model_dump(mode="json"), "data": asdict(data)}
            write_json(self.folder / CONFIG, record)
            yield

    def finished(self, config: Config, data: Data) -> bool:
        """Whether there is a result of this config and these data.

        Raises
        ------
        GptexError
            If there is one of others.
        """
        if not ((self.folder / RESULT).exists() and (self.folder / LAST).exists()):
            return False
        self._check_same(config, data)
        result = self.read_result()
        try:
            scores = [SCORE.validate_python(result.get(end)) for end in ("last", "best")]
        except ValidationError:  # by others' hands: to be made again
            return False
        sound = all(score and 0 <= score.accuracy <= 1 and math.isfinite(score.loss) for score in scores)
        return sound and "best_epoch" in result and result.get("epochs") == config.epochs

    def _check_same(self, config: Config, data: Data) -> None:
        before, learned = self.read_config()
        old, new = before.model_dump(), config.model_dump()
        if config.schedule == "constant" and config.epochs > before.epochs:
            new["epochs"] = old["epochs"]  # the epochs so far are those of a longer run
        for key in old:
            if old[key] != new[key]:
                was, now = ("the default" if value is None else value for value in (getattr(before, key), getattr(config, key)))
                raise GptexError(f"{self.folder} was begun with {key} {was}, not {now}: use the same, or another folder")
        if (learned.sha256, learned.textures) != (data.sha256, data.textures):
            counts = ", ".join(f"{name} {count}" for name, count in learned.textures.items())
            other = "" if learned.sha256 == data.sha256 else ", of another recipe or seed"
            raise GptexError(
                f"{self.folder} was begun with other textures, {learned.name!r} ({counts}){other}: use another folder"
            )

    def read_config(self) -> tuple[Config, Data]:
        """How it was trained, and on what."""
        record = read_json(self.folder / CONFIG)
        try:
            if record["format"] != FORMAT:
                raise GptexError(f"{self.folder / CONFIG} is of another format than {FORMAT!r}")
            data = record["data"]
            lists = {key: tuple(data[key]) for key in ("shape", "classes")}
            return Config(**record["config"]), Data(
                **{**data, **lists, "class_scales": tuple(map(tuple, data["class_scales"]))}
            )
        except (KeyError, TypeError) as error:
            raise GptexError(f"{self.folder / CONFIG} is no config of a run: {error}") from None

    def save(self, state: State, tensors: Mapping[str, Any]) -> None:
        """Write the metrics and `last.pt`; and `best.pt`, if the last epoch was the best one."""
        write_text(self.folder / METRICS, csv_text(state.history))
        _write(self.folder / LAST, {**self._origin(), "epoch": state.epoch, "history": state.history, **tensors})
        self.write_best(state, tensors["model"])

    def write_best(self, state: State, weights: Mapping[str, Any]) -> None:
        """Write `best.pt`, if the last epoch was the best one."""
        if state.best is state.history[-1]:
            _write(self.folder / BEST, {**self._origin(), "epoch": state.epoch, "model": weights})

    def _origin(self) -> dict[str, Any]:
        """What a checkpoint is of; a longer run may have more epochs."""
        record = read_json(self.folder / CONFIG)
        config = {key: value for key, value in record["config"].items() if key != "epochs"}
        return {"config": config, "data": record["data"]}

    def load(self, name: str = LAST) -> dict[str, Any]:
        """What a checkpoint holds, on the CPU."""
        path = self.folder / name
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()  # torch writes checksums and does not read them
            if damaged:
                raise zipfile.BadZipFile(f"the checksum of {damaged} is wrong")
            found = torch.load(path, map_location="cpu", weights_only=True)
        except FileNotFoundError:
            hint = " (a run without validation data has none)" if name == BEST else ""
            raise GptexError(f"there is no {path}{hint}") from None
        except UNREADABLE as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise GptexError(f"{path} is no checkpoint, or damaged: {reason}") from None
        needed = {"config", "data", "epoch", "model"} | ({"history", "optimizer", "scaler"} if name == LAST else set())
        if not (isinstance(found, dict) and needed <= set(found)):
            raise GptexError(f"{path} is no checkpoint that a run has written under this name")
        if any(found[key] != value for key, value in self._origin().items()):
            raise GptexError(f"{path} is of another run than {CONFIG} beside it says: it has other settings or other textures")
        return found

    def load_best(self, state: State) -> dict[str, Any]:
        """What `best.pt` holds, if it is of the best epoch of `state`; else GptexError."""
        found = self.load(BEST)
        if state.best is None or found["epoch"] != state.best["epoch"]:
            raise GptexError(f"{self.folder / BEST} is not of the best epoch: begin anew in another folder")
        return found

    def write_result(self, result: Mapping[str, Any]) -> None:
        """Write `result.json`."""
        write_json(self.folder / RESULT, result)

    def read_result(self) -> dict[str, Any]:
        """The result of a finished run."""
        return read_json(self.folder / RESULT)

    def forget_result(self) -> None:
        """Remove `result.json`, which is of fewer epochs."""
        (self.folder / RESULT).unlink(missing_ok=True)

    def state(self) -> State:
        """How far it is; nowhere, if it was not begun."""
        return State.of(self.load()) if (self.folder / LAST).exists() else State()


def is_begun(folder: Path, record: str) -> bool:
    """Whether the folder has the record that tells what it is for; GptexError if it has anything else instead."""
    others = sorted(path.name for path in folder.iterdir() if not path.name.startswith(".gptex"))
    if others and record not in others:
        raise GptexError(f"{folder} holds something else ({others[0]!r}): use a new or empty folder")
    return record in others


def read_json(path: Path) -> dict[str, Any]:
    """The object in a JSON file; GptexError if there is none."""
    try:
        found = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise GptexError(f"{path.parent} holds no {path.name}, as the folder of a run does") from None
    except (ValueError, OSError, RecursionError) as error:
        raise GptexError(f"{path} cannot be read: {error}") from None
    if not isinstance(found, dict):
        raise GptexError(f"{path} holds no JSON object")
    return found


def write_json(path: Path, contents: Mapping[str, Any]) -> None:
    """Write an object as JSON, whole or not at all."""
    write_text(path, json.dumps(contents, indent=1, ensure_ascii=False) + "\n")


def _write(path: Path, contents: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    torch.save(contents, buffer)  # into a file it would say RuntimeError of a full disk
    with replacing(path) as part:
        part.write_bytes(buffer.getvalue())


def csv_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A table as CSV, with a line of names."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
