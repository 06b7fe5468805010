"""Pictures of a run, its curves and its confusion matrix, and of a comparison. They need matplotlib, the extra `plot`."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptex.learn.means import Mean
from gptex.pictures import new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from gptex.learn.comparison import Arm
    from gptex.learn.scores import Score
    from gptex.trust.oracle import Oracle

COLOURS = {"train": "#4477aa", "val": "#ee6677"}


def plot_curves(
    history: Sequence[dict[str, float]],
    chance: float,
    best_epoch: int | None = None,
    test: Score | None = None,
    reference: float | None = None,
) -> Figure:
    """Loss and accuracy by epoch, of training and validation data; the accuracy on the test data at the end, with its interval.

    Parameters
    ----------
    history : sequence of dict of str to float
        Rows of the metrics, one an epoch.
    chance : float
        The accuracy of guessing.
    best_epoch : int, optional
        To be marked.
    test : Score, optional
    reference : float, optional
        The accuracy of the best classifier.
    """
    figure = new_figure(9, 3.4)
    from matplotlib.ticker import LogLocator, NullFormatter, StrMethodFormatter

    left, right = figure.subplots(1, 2)
    epochs = [row["epoch"] for row in history]
    for part, colour in COLOURS.items():
        if f"{part}_loss" in history[0]:
            name = {"train": "training", "val": "validation"}[part]
            marker = "." if len(history) == 1 else None
            left.plot(epochs, [row[f"{part}_loss"] for row in history], color=colour, label=name, marker=marker)
            right.plot(epochs, [row[f"{part}_accuracy"] for row in history], color=colour, label=name, marker=marker)
    if test:
        low, high = test.interval
        reach = [[test.accuracy - low], [high - test.accuracy]]
        right.errorbar([epochs[-1]], [test.accuracy], reach, fmt="o", color="black", ms=4, capsize=3, label="test, last epoch")
        left.plot([epochs[-1]], [test.loss], "o", color="black", ms=4, label="test, last epoch")
    right.axhline(chance, color="gray", linestyle=":", label="guessing")
    if reference is not None:
        right.axhline(reference, color="black", linestyle="--", linewidth=0.8, label="best classifier")
    right.set_ylim(0, 1.03)
    for axes, what in ((left, "loss (nats)"), (right, "accuracy")):
        if best_epoch:
            axes.axvline(best_epoch, color="gray", linewidth=0.8, linestyle="--", label=f"best epoch, {best_epoch}")
        _of_epochs(axes, len(history))
        axes.set_ylabel(what)
    losses = [value for row in history for name, value in row.items() if name.endswith("_loss")]
    if min(losses) > 0:  # which it is not where there is one class
        left.set_yscale("log")
        decades = math.log10(max(losses) / min(losses))
        left.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5) if decades < 2 else (1,)))
        left.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))  # numbers, not powers
        left.yaxis.set_minor_formatter(NullFormatter())
    right.legend(fontsize=8)
    return figure


def plot_confusion(score: Score, classes: Sequence[str], title: str) -> Figure:
    """The confusion matrix: each row a class, shaded by the share of its textures that was taken for each class.

    Parameters
    ----------
    score : Score
    classes : sequence of str
        Their names.
    title : str
    """
    counts = np.array(score.confusion)
    shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
    side = min(max(3.4, 0.7 * len(classes) + 1.6), 14)
    figure = new_figure(side + 0.6, side)
    axes = figure.subplots()
    shown = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    figure.colorbar(shown, label="share of the class", shrink=0.8)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(len(classes)), classes, fontsize=8)
    if len(classes) <= 20:
        for row, column in np.ndindex(counts.shape):
            colour = "white" if shares[row, column] > 0.5 else "black"
            axes.text(column, row, str(counts[row, column]), ha="center", va="center", fontsize=8, color=colour)
    axes.set_xlabel("named class")
    axes.set_ylabel("true class")
    axes.set_title(title, fontsize=9)
    return figure


def plot_comparison(arms: Sequence[Arm], reference: Oracle | None) -> Figure:
    """What methods reached: a panel for each accuracy and one for the loss, and the way there on validation data.

    In the panels a small dot is a seed, a large one the mean with its 95 % interval; hollow at the last epoch, filled at the
    best one on validation data.

    Parameters
    ----------
    arms : sequence of Arm
    reference : Oracle, optional
        A dashed line in the panels of accuracies.
    """
    components = list(arms[0].results[0]["last"]["components"])
    panels = ["accuracy", *components, "loss"]
    figure = new_figure(2.9 * (len(panels) + 1), 3.6)
    *shown, curves = figure.subplots(1, len(panels) + 1)
    for axes, what in zip(shown, panels, strict=True):
        for place, arm in enumerate(arms):
            for end, shift, face in (("last", -0.16, "white"), ("best", 0.16, f"C{place}")):
                numbers = arm.numbers(end, what)
                mean, where = Mean.of(numbers), place + shift
                axes.plot([where] * len(numbers), numbers, ".", color=f"C{place}", alpha=0.35, ms=5)
                style = {"fmt": "o", "color": f"C{place}", "markerfacecolor": face, "capsize": 3}
                axes.errorbar([where], [mean.value], [mean.half if len(numbers) > 1 else 0], **style)
        axes.set_xlim(-0.6, len(arms) - 0.4)
        axes.set_xticks(range(len(arms)), [arm.regularizer.method for arm in arms], rotation=30, ha="right", fontsize=8)
        named = {"accuracy": "test accuracy", "loss": "test loss (nats)"}
        axes.set_title(named.get(what, f"test accuracy, {what}"), fontsize=9)
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), high if what == "loss" else min(high, 1.03))
        if reference and what in (known := {"accuracy": reference.accuracy, **reference.components}):
            axes.axhline(known[what], color="black", linestyle="--", linewidth=0.8, label="best classifier")
    for face, end in (("white", "last epoch"), ("gray", "best epoch on validation data")):
        shown[0].plot([], [], "o", color="gray", markerfacecolor=face, label=end)
    figure.legend(handles=shown[0].get_legend_handles_labels()[0], loc="outside lower left", ncols=3, fontsize=7)
    for place, arm in enumerate(arms):
        mean_curve = np.mean([[row["val_accuracy"] for row in history] for history in arm.histories], axis=0)
        curves.plot([row["epoch"] for row in arm.histories[0]], mean_curve, color=f"C{place}", label=arm.regularizer.method)
    curves.set_title("validation accuracy, mean of seeds", fontsize=9)
    _of_epochs(curves, len(arms[0].histories[0]))
    curves.legend(fontsize=7)
    return figure


def _of_epochs(axes: Axes, epochs: int) -> None:
    """Make the axis one of whole epochs, from 1 on."""
    from matplotlib.ticker import MaxNLocator

    axes.set_xlabel("epoch")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    axes.set_xlim(1 - 0.03 * epochs, epochs + 0.03 * epochs)
