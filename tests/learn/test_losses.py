"""Losses that do not decompose: written out pair by pair and count by count, against differences, and never nan."""

import math
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from gptex import Backdrop, GptexError, auc_loss, soft_f_beta_loss

EXAMPLE = Path(__file__).parents[2] / "examples/digits_auc.py"
SURROGATES = {
    "logistic": lambda d: math.log2(1 + math.exp(-d)),
    "hinge": lambda d: max(0.0, 1 - d),
    "sigmoid": lambda d: 1 / (1 + math.exp(d)),
}
LOSSES = {
    **{name: lambda s, t, name=name: auc_loss(s, t, surrogate=name) for name in SURROGATES},
    "f1": soft_f_beta_loss,
    "f2": lambda s, t: soft_f_beta_loss(s, t, beta=2),
}


def data(n=40, dtype=torch.float64, seed=0):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.rand(n, generator=generator) < 0.25
    return torch.randn(n, generator=generator, dtype=dtype) + targets, targets


def wrong_pairs(scores, targets):
    """1 - AUC by counting, ties half."""
    pairs = [(p, n) for p in scores[targets].tolist() for n in scores[~targets].tolist()]
    return sum((p < n) + (p == n) / 2 for p, n in pairs) / len(pairs)


@pytest.mark.parametrize("surrogate", SURROGATES)
def test_the_auc_loss_is_the_mean_over_pairs(surrogate):
    scores, targets = data()
    pairs = [SURROGATES[surrogate](p - n) for p in scores[targets].tolist() for n in scores[~targets].tolist()]
    assert len(pairs) > 200
    assert auc_loss(scores, targets, surrogate=surrogate).item() == pytest.approx(np.mean(pairs))


def test_logistic_and_hinge_bound_the_share_of_wrong_pairs_and_the_sigmoid_tends_to_it():
    for seed in range(5):
        scores, targets = data(seed=seed)
        wrong = wrong_pairs(scores, targets)
        assert 0 < wrong < 0.5
        assert auc_loss(scores, targets) > wrong
        assert auc_loss(scores, targets, surrogate="hinge") > wrong
        assert auc_loss(1e6 * scores, targets, surrogate="sigmoid").item() == pytest.approx(wrong)
        tied = scores.round()
        assert auc_loss(1e6 * tied, targets, surrogate="sigmoid").item() == pytest.approx(wrong_pairs(tied, targets))


def test_the_sigmoid_of_scaled_scores_is_one_minus_the_auc_of_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics", reason="needs scikit-learn, which the extra dev brings")
    scores, targets = data(500)
    loss = auc_loss(1e6 * scores, targets, surrogate="sigmoid").item()
    assert loss == pytest.approx(1 - metrics.roc_auc_score(targets.numpy(), scores.numpy()))


@pytest.mark.parametrize("beta", [0, -1, math.nan, math.inf, 1e20, 1e200, 10**400])
def test_another_beta_is_refused(beta):
    with pytest.raises(GptexError, match="beta is positive and 1e\\+06 at most"):
        soft_f_beta_loss(torch.zeros(2), torch.ones(2), beta)


@pytest.mark.parametrize("beta", [0.5, 1, 2])
def test_the_f_loss_of_certain_scores_is_one_minus_f(beta):
    scores, targets = data(200)
    predicted = scores > 0.5
    hits, predictions, positives = ((predicted & targets).sum().item(), predicted.sum().item(), targets.sum().item())
    precision, recall = hits / predictions, hits / positives
    f = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
    assert soft_f_beta_loss(1e6 * (scores - 0.5), targets, beta).item() == pytest.approx(1 - f)


def test_the_f_loss_of_uncertain_scores_counts_probabilities():
    scores, targets = torch.tensor([0.0, math.log(3)]), torch.tensor([1, 0])  # probabilities 1/2 and 3/4
    assert soft_f_beta_loss(scores, targets).item() == pytest.approx(1 - 2 * 0.5 / (2 * 0.5 + 0.75 + 0.5))


@pytest.mark.parametrize("loss", LOSSES)
def test_gradients_are_those_of_differences(loss):
    scores, targets = data(12)
    assert torch.autograd.gradcheck(lambda s: LOSSES[loss](s, targets), scores.requires_grad_())


@pytest.mark.parametrize("loss", LOSSES)
def test_a_step_down_the_gradient_raises_positives_and_lowers_negatives(loss):
    scores, targets = data(60)
    (gradient,) = torch.autograd.grad(LOSSES[loss](scores.requires_grad_(), targets), scores)
    assert (gradient[targets] <= 0).all()
    assert (gradient[~targets] >= 0).all()
    assert gradient.abs().sum() > 0


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("share", [0, 0.5, 1])
@pytest.mark.parametrize("size", [0.0, 1.0, 1e4, 3e38, math.inf])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_loss_and_gradient_are_finite_whatever_the_scores_and_classes(loss, share, size, dtype):
    signs = torch.tensor([1, 1, -1, -1, 1, -1, 1, -1.0])
    scores = (signs * size if size else 0 * signs).to(dtype).requires_grad_()
    value = LOSSES[loss](scores, torch.arange(8) < 8 * share)
    value.backward()
    assert math.isfinite(value.item())
    assert scores.grad.isfinite().all()
    assert value.item() >= 0


@pytest.mark.parametrize("loss", LOSSES)
def test_without_samples_the_loss_is_0(loss):
    assert LOSSES[loss](torch.zeros(0, requires_grad=True), torch.zeros(0)).item() == 0


def test_without_pairs_the_auc_loss_and_its_gradient_are_0():
    scores = torch.randn(5, requires_grad=True)
    for targets in (torch.zeros(5), torch.ones(5)):
        loss = auc_loss(scores, targets)
        assert loss.item() == 0
        assert torch.autograd.grad(loss, scores)[0].tolist() == [0] * 5


def test_where_nothing_is_positive_and_nothing_is_predicted_there_is_no_f_loss():
    assert soft_f_beta_loss(torch.full((5,), -200.0), torch.zeros(5)).item() == 0
    assert soft_f_beta_loss(torch.full((5,), 0.0), torch.zeros(5)).item() == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_nan_is_not_hidden(loss):
    assert LOSSES[loss](torch.tensor([0.0, math.nan, 1.0]), torch.tensor([1, 0, 0])).isnan()


@pytest.mark.parametrize("loss", LOSSES)
def test_targets_may_be_bool_numbers_or_signs_of_any_shape(loss):
    scores, targets = data(40)
    value = LOSSES[loss](scores, targets)
    for other in (targets.long(), targets.double(), 2 * targets.long() - 1):
        assert LOSSES[loss](scores, other) == value
    assert LOSSES[loss](scores[:, None], targets[:, None]) == value


def test_half_precision_is_summed_in_single():
    scores, targets = data(4000, torch.float32)
    for loss in LOSSES.values():
        assert loss(scores.half(), targets).dtype == torch.float32
        assert loss(scores.half(), targets).item() == pytest.approx(loss(scores.half().double(), targets).item(), rel=1e-5)


def test_other_surrogates_and_shapes_are_refused():
    scores, targets = data()
    with pytest.raises(GptexError, match="did you mean 'logistic'"):
        auc_loss(scores, targets, surrogate="logistics")
    for loss in LOSSES.values():
        with pytest.raises(GptexError, match="targets of the same"):
            loss(scores, targets[:, None])


@pytest.mark.parametrize("loss", LOSSES)
def test_with_backdrop_all_samples_enter_the_loss_and_some_pass_their_gradient(loss):
    scores, targets = data(40)
    layer = Backdrop(0.7, dims=(0,), generator=torch.Generator().manual_seed(0))
    scores.requires_grad_()
    plain, masked = LOSSES[loss](scores, targets), LOSSES[loss](layer(scores), targets)
    assert plain == masked
    whole, part = (torch.autograd.grad(value, scores)[0] for value in (plain, masked))
    assert 0 < layer.last_mask.sum() < 40
    torch.testing.assert_close(part, whole * layer.last_mask * 40 / layer.last_mask.sum())


@pytest.mark.slow
def test_the_example_on_digits_prints_a_row_for_each_way_and_draws_the_plot(tmp_path):
    pytest.importorskip("sklearn", reason="needs scikit-learn, which the extra dev brings")
    command = [sys.executable, EXAMPLE, "--seeds", "2", "--steps", "50", "--plot", tmp_path / "digits.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    rows = re.findall(r"^\| ([a-z, ]+) \| 0\.\d+ \| (\d\.\d+) ±", done.stdout, flags=re.MULTILINE)
    assert [name for name, _ in rows] == ["full batch", "minibatch", "full batch, backdrop"]
    assert all(0.8 < float(auc) <= 1 for _, auc in rows)  # chance is 1 / 2
    assert (tmp_path / "digits.png").read_bytes().startswith(b"\x89PNG")
