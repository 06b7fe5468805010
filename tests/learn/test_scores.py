"""Scores beside scikit-learn's metrics, means beside scipy's intervals, and what is said of them on the way."""

import io
import sys

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn import metrics
from torch.nn import functional

from gptex import Component, Recipe, RecipeDataset
from gptex.learn.means import Mean
from gptex.learn.ranks import Ranks
from gptex.learn.scores import Tally, moved, score
from gptex.store import progress as shown
from gptex.store.progress import progress
from gptex.trust.classification import component_names

ALONE = Ranks(0, 1, torch.device("cpu"))
SURE = 1e-4  # false alarms of each statistical check here, whose seeds are fixed


@pytest.fixture(scope="module")
def six():
    """A recipe of six classes, from two and three length scales."""
    fine, coarse = Component(name="fine", length_scales=[1, 2]), Component(name="coarse", length_scales=[4, 5, 6])
    return Recipe(name="six", shape=[48, 48], components=[fine, coarse])


def random_batches(seed=0, sizes=(7, 64, 1, 30)):
    """Batches of logits that know something of the labels."""
    torch.manual_seed(seed)
    batches = []
    for size in sizes:
        labels = torch.randint(6, (size,))
        batches.append((torch.randn(size, 6) + 1.5 * functional.one_hot(labels, 6), labels))
    return batches


def tallied(contents, batches):
    tally = Tally(contents, ALONE.device)
    for logits, labels in batches:
        tally.add(logits, labels, functional.cross_entropy(logits, labels))
    return tally


@pytest.mark.parametrize("seed", range(3))
def test_a_score_is_what_scikit_learn_finds(six, seed):
    batches = random_batches(seed)
    found = tallied(six, batches).score(ALONE)
    logits, labels = (torch.cat(each).double().numpy() for each in zip(*batches, strict=True))
    named, labels = logits.argmax(1), labels.astype(int)
    chances = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    assert found.textures == 102
    assert found.accuracy == pytest.approx(metrics.accuracy_score(labels, named))
    assert 0.2 < found.accuracy < 0.9
    assert found.loss == pytest.approx(metrics.log_loss(labels, chances, labels=range(6)), rel=1e-6)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, named, labels=range(6)))
    hits = int((named == labels).sum())
    wilson = stats.binomtest(hits, 102).proportion_ci(0.95, "wilson")
    assert found.interval == pytest.approx((wilson.low, wilson.high), rel=1e-6)
    for number, name in enumerate(("fine", "coarse")):  # a class is named by its length scales: 1-4, 2-4, 1-5 and so on
        scales = np.array([kind.split("-")[number] for kind in six.classes])
        assert found.components[name] == pytest.approx(metrics.accuracy_score(scales[labels], scales[named]))


def test_components_by_hand(six):
    """Of four textures one is named right, one has the coarse scale right, one the fine one, and one neither."""
    label = {name: number for number, name in enumerate(six.classes)}
    truth, named = ["1-4", "1-4", "2-5", "2-6"], ["1-4", "2-4", "2-6", "1-5"]
    logits = functional.one_hot(torch.tensor([label[name] for name in named]), 6).float()
    found = tallied(six, [(logits, torch.tensor([label[name] for name in truth]))]).score(ALONE)
    assert (found.accuracy, found.components) == (0.25, {"fine": 0.5, "coarse": 0.5})
    text = str(found)
    assert "accuracy 0.250" in text
    assert "4 textures" in text
    assert "fine 0.500, coarse 0.500" in text


def test_the_sums_of_two_processes_make_the_score_of_one(six):
    """What `Ranks.total` adds up is all that a score is made of."""
    batches = random_batches(3, (8, 8, 3))
    rows = [[(logits[rank::2], labels[rank::2]) for logits, labels in batches] for rank in range(2)]
    first, second = (tallied(six, each) for each in rows)
    first.loss += second.loss
    first.confusion += second.confusion
    both, one = first.score(ALONE), tallied(six, batches).score(ALONE)
    assert both.loss == pytest.approx(one.loss)
    assert (both.confusion, both.components, both.interval) == (one.confusion, one.components, one.interval)
    assert second.score(ALONE).confusion != one.confusion


def test_a_tally_says_where_it_is(six):
    batches = random_batches(4)
    logits, labels = (torch.cat(each) for each in zip(*batches, strict=True))
    loss, hits = functional.cross_entropy(logits, labels), (logits.argmax(1) == labels).float().mean()
    assert str(tallied(six, batches)) == f"loss {loss:.3f}, accuracy {hits:.3f}"


def test_a_net_is_scored_without_its_dropout_and_without_gradient(six):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Dropout(0.9), torch.nn.Linear(48 * 48, 6))
    items = [RecipeDataset(six, length=24)[index] for index in range(24)]
    images, labels = torch.stack([image for image, _ in items]), torch.tensor([label for _, label in items])
    found = score(net, zip(images.split(7), labels.split(7), strict=True), six, ALONE)
    logits = functional.linear(images.flatten(1), net[2].weight, net[2].bias)
    assert not net.training
    assert found.loss == pytest.approx(functional.cross_entropy(logits, labels).item(), rel=1e-5)
    np.testing.assert_array_equal(found.confusion, metrics.confusion_matrix(labels, logits.argmax(1), labels=range(6)))
    assert all(parameter.grad is None for parameter in net.parameters())
    (batch,) = moved([(images, labels)], ALONE.device)
    assert torch.equal(batch[0], images)


def test_components_of_a_recipe_have_names(six):
    assert component_names(six) == ["fine", "coarse"]


# -- means


@pytest.mark.parametrize("count", [2, 3, 5, 40])
def test_a_mean_has_the_interval_that_scipy_gives_it(count):
    numbers = np.random.default_rng(count).normal(0.7, 0.05, count)
    found = Mean.of(numbers.tolist())
    low, high = stats.t.interval(0.95, count - 1, loc=np.mean(numbers), scale=stats.sem(numbers))
    assert (found.value - found.half, found.value + found.half) == pytest.approx((low, high), rel=1e-9)
    assert str(found) == f"{(low + high) / 2:.3f} ± {(high - low) / 2:.3f}"


def test_a_mean_of_equal_numbers_is_sure_and_one_of_a_single_number_is_not():
    assert (Mean.of([0.5, 0.5, 0.5]).value, Mean.of([0.5, 0.5, 0.5]).half) == (0.5, 0)
    alone = Mean.of([0.25])
    assert (alone.value, alone.half, str(alone)) == (0.25, np.inf, "0.250")


def test_the_interval_of_three_covers_the_truth_in_95_of_100_cases():
    """4000 samples of three; the wrong case takes the normal quantile instead of Student's, and covers about 81 %."""
    samples = np.random.default_rng(0).normal(3, 2, (4000, 3))
    found = [Mean.of(sample) for sample in samples]

    def alarm(halves):
        covered = sum(abs(mean.value - 3) <= half for mean, half in zip(found, halves, strict=True))
        return stats.binomtest(covered, 4000, 0.95).pvalue < SURE

    assert not alarm([mean.half for mean in found])
    assert alarm(stats.norm.ppf(0.975) * stats.sem(samples, axis=1))


# -- what is said on the way


def test_a_note_stands_in_the_lines_of_a_log_from_then_on(capsys, monkeypatch):
    monkeypatch.setattr(shown, "LOG_SECONDS", 0.0)  # a line each time
    with progress("train", 6, True) as bar:
        bar.add(2, 100)
        bar.note("epoch 1: loss 0.5")
        bar.add(2, 100)
        bar.note("epoch 2: loss 0.25")
        bar.add(2, 100)
        bar.note("epoch 3: loss 0.1")
    first, second, third, last = capsys.readouterr().err.splitlines()
    assert first.startswith("train: 2/6 textures, ")
    assert "epoch" not in first
    assert second.startswith("train: 4/6 textures, ")
    assert second.endswith(" MB/s, epoch 1: loss 0.5")
    assert third.startswith("train: 6/6 textures, ")
    assert third.endswith(" MB/s, epoch 2: loss 0.25")
    assert last.startswith("train: 6/6 textures, ")  # what is noted at the very end is said too
    assert last.endswith(" MB/s, epoch 3: loss 0.1")


class Terminal(io.StringIO):
    """Standard error as a terminal."""

    def isatty(self):
        return True


def test_a_note_stands_after_the_rate_on_a_bar(monkeypatch):
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    with progress("train", 4, True) as bar:
        bar.add(2, 100)
        assert "epoch" not in terminal.getvalue()
        bar.note("epoch 1: loss 0.5")
        assert terminal.getvalue().rpartition("\r")[2].rstrip().endswith("MB/s, epoch 1: loss 0.5]")
        bar.add(2, 100)
    last = terminal.getvalue().rpartition("\r")[2]
    assert "4/4" in last
    assert "epoch 1: loss 0.5]" in last


def test_without_progress_nothing_is_said(capsys):
    with progress("train", 4, False) as bar:
        bar.add(4, 100)
        bar.note("epoch 1")
    assert capsys.readouterr().err == ""
