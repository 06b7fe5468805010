"""A loss that does not decompose, on real data: ROC AUC of one handwritten digit against the rest, with and without backdrop.

A small net learns `gptex.auc_loss` from 400 digits, a tenth of them positive, in three ways: the full batch in each step;
random minibatches, each with an AUC loss of its own; and the full batch with a batch mask of `gptex.Backdrop` before the last
layer, so that all pairs enter the loss and a tenth of the samples pass their gradient. Each way gets the same number of steps
and the same search for its learning rate, on validation data; the table and the plot are of test data. A seed splits the data
anew, so ways are compared seed by seed.

    python digits_auc.py [--seeds 10] [--steps 1000] [--digit 8] [--plot digits_auc.png]

Needs torch, matplotlib and scikit-learn, which ships the digits.
"""
# ruff: noqa: T201

from __future__ import annotations

import argparse
from collections.abc import Callable
from statistics import mean, stdev

import torch
from matplotlib.figure import Figure
from sklearn.datasets import load_digits
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn

from gptex import Backdrop, auc_loss

TRAIN, VAL = 400, 400  # of 1797; the rest is for testing
RATES = (0.001, 0.003, 0.01, 0.03)
BATCH = 40  # of a minibatch; backdrop lets as many samples pass
EVERY = 25
T_95 = {2: 12.71, 3: 4.30, 4: 3.18, 5: 2.78, 6: 2.57, 7: 2.45, 8: 2.36, 9: 2.31, 10: 2.26}  # Student's, by number of seeds

Split = tuple[Tensor, Tensor]


def splits(digit: int, seed: int) -> tuple[Split, Split, Split]:
    """Pixels and whether they show `digit`, for training, validation and test."""
    pixels, digits = load_digits(return_X_y=True)
    x, y = torch.tensor(pixels / 16, dtype=torch.float32), torch.tensor(digits == digit)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    train, val, test = order.tensor_split([TRAIN, TRAIN + VAL])
    return (x[train], y[train]), (x[val], y[val]), (x[test], y[test])


def train(way: str, rate: float, seed: int, data: Split, steps: int, measure: Callable[[nn.Module], tuple[float, ...]]) -> list:
    """What `measure` says every few steps."""
    torch.manual_seed(seed)
    (x, y), p = data, 1 - BATCH / TRAIN if way == "full batch, backdrop" else 0.0
    net = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), Backdrop(p, dims=(0,)), nn.Linear(64, 1), nn.Flatten(0))
    optimizer = torch.optim.Adam(net.parameters(), rate)
    history = []
    for step in range(1, steps + 1):
        chosen = torch.randperm(len(x))[:BATCH] if way == "minibatch" else slice(None)
        optimizer.zero_grad()
        auc_loss(net(x[chosen]), y[chosen]).backward()
        optimizer.step()
        if step % EVERY == 0:
            net.eval()
            with torch.no_grad():
                history.append(measure(net))
            net.train()
    return history


def interval(values: list[float]) -> str:
    """Mean and half of the 95 % interval for it."""
    return f"{mean(values):.4f} ± {T_95[len(values)] * stdev(values) / len(values) ** 0.5:.4f}"


def main() -> None:
    """Train, print the table, draw the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=10, choices=T_95)
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--digit", type=int, default=8)
    parser.add_argument("--plot")
    options = parser.parse_args()
    torch.set_num_threads(1)  # the net is too small to share
    figure = Figure(figsize=(6.4, 4), layout="constrained")
    axes = figure.subplots()
    print(
        "| | learning rate | test AUC, last step | minus full batch's | at the best step on validation | test loss, last step |"
    )
    print("|---|---|---|---|---|---|")
    full: list[float] = []
    for way in ("full batch", "minibatch", "full batch, backdrop"):
        histories: dict[float, list[Tensor]] = {}  # per rate and seed: (steps, 3), validation AUC, test AUC, test loss
        for rate in RATES:
            for seed in range(options.seeds):
                data, (x_val, y_val), (x_test, y_test) = splits(options.digit, seed)

                def measure(net: nn.Module, x_val=x_val, y_val=y_val, x_test=x_test, y_test=y_test) -> tuple[float, ...]:
                    test = net(x_test)
                    loss = auc_loss(test, y_test).item()
                    return roc_auc_score(y_val, net(x_val)), roc_auc_score(y_test, test), loss

                history = torch.tensor(train(way, rate, seed, data, options.steps, measure), dtype=torch.float64)
                histories.setdefault(rate, []).append(history)
        best = max(RATES, key=lambda rate: mean(h[:, 0].max().item() for h in histories[rate]))
        chosen = torch.stack(histories[best])
        last, loss = chosen[:, -1, 1].tolist(), chosen[:, -1, 2].tolist()
        early = [h[h[:, 0].argmax(), 1].item() for h in chosen]
        full = full or last
        gain = interval([a - b for a, b in zip(last, full, strict=True)]) if way != "full batch" else ""
        print(f"| {way} | {best} | {interval(last)} | {gain} | {interval(early)} | {interval(loss)} |", flush=True)
        steps = torch.arange(1, chosen.shape[1] + 1) * EVERY
        line = axes.plot(steps.tolist(), chosen[:, :, 1].mean(0).tolist(), label=f"{way}, learning rate {best}")[0]
        for history in chosen:
            axes.plot(steps.tolist(), history[:, 1].tolist(), color=line.get_color(), alpha=0.25, linewidth=0.5)
    axes.set_xlabel("step")
    axes.set_ylabel("test AUC: mean, and each seed")
    axes.set_title(f"digit {options.digit} against the rest", fontsize=10)
    axes.set_ylim(0.93, 1)
    axes.legend(fontsize=8)
    if options.plot:
        figure.savefig(options.plot, dpi=100)


if __name__ == "__main__":
    main()
