"""Losses that do not decompose into a sum over samples: of the order of all scores, and of counts over all samples.

On a small batch such a loss is another loss: the mean of F over batches is not F. So all samples enter, and where that makes
training too deterministic, `Backdrop(p, dims=(0,))` before the loss lets a random part of them pass their gradient. The losses
are for two classes; they and their gradients are finite for any scores that are not nan, also when a class is absent.
"""

from __future__ import annotations

from typing import Literal, get_args

import torch
from torch import Tensor
from torch.nn import functional

from gptex.errors import GptexError, nearest

Surrogate = Literal["logistic", "hinge", "sigmoid"]
LARGEST_BETA = 1e6
SATURATED = 1e20  # scores beyond are as good as infinite: differences and sums of them stay finite


def auc_loss(scores: Tensor, targets: Tensor, *, surrogate: Surrogate = "logistic") -> Tensor:
    r"""A relaxation of 1 - ROC AUC, the share of pairs of a positive and a negative sample whose scores are in the wrong order.

    .. math:: \frac{1}{n_+ n_-} \sum_{i \in +} \sum_{j \in -} \phi(s_i - s_j)

    with φ(d) = log2(1 + exp(-d)) ("logistic") or max(0, 1 - d) ("hinge"), which bound the share from above, or 1 / (1 + exp(d))
    ("sigmoid"), which tends to it as scores are scaled up, and whose gradient then vanishes.

    Parameters
    ----------
    scores : tensor of n numbers
        Larger for positive samples.
    targets : tensor of the same shape
        Positive samples are those above 0: bool, 0 and 1, or -1 and 1.
    surrogate : {"logistic", "hinge", "sigmoid"}

    Returns
    -------
    tensor
        Of one number, at least of float32. Without a pair it is 0, and so is its gradient. It takes memory for all pairs.

    Raises
    ------
    GptexError
        If shapes differ, or for another surrogate.

    Examples
    --------
    >>> scores, targets = torch.tensor([2.0, 0.0, 1.0]), torch.tensor([1, 1, 0])
    >>> auc_loss(scores, targets, surrogate="hinge")  # pairs (2, 1) and (0, 1)
    tensor(1.)
    >>> auc_loss(1e3 * scores, targets, surrogate="sigmoid")
    tensor(0.5000)
    """
    if surrogate not in get_args(Surrogate):
        raise GptexError(f"there is no surrogate {surrogate!r}: {nearest(str(surrogate), get_args(Surrogate))}")
    scores, positive = _checked(scores, targets)
    difference = scores[positive][:, None] - scores[~positive]
    if surrogate == "hinge":
        losses = functional.relu(1 - difference)
    elif surrogate == "sigmoid":
        losses = torch.sigmoid(-difference)
    else:
        losses = functional.softplus(-difference) / torch.log(scores.new_tensor(2.0))
    return losses.sum() / max(losses.numel(), 1)


def soft_f_beta_loss(scores: Tensor, targets: Tensor, beta: float = 1.0) -> Tensor:
    r"""1 - Fβ with counts of probabilities in place of decisions.

    .. math:: 1 - F_\beta = \frac{FP + \beta^2 FN}{(1 + \beta^2) TP + FP + \beta^2 FN}

    where TP sums the probability p = 1 / (1 + exp(-s)) over positive samples, FN sums 1 - p over them, and FP sums p over the
    negative ones.

    Parameters
    ----------
    scores : tensor of n numbers
        Logits, larger for positive samples.
    targets : tensor of the same shape
        Positive samples are those above 0: bool, 0 and 1, or -1 and 1.
    beta : float
        How much more recall counts than precision.

    Returns
    -------
    tensor
        Of one number in [0, 1], at least of float32. Where nothing is positive and nothing is predicted it is 0.

    Raises
    ------
    GptexError
        If shapes differ, or `beta` is not positive or above 1e6.

    Examples
    --------
    >>> scores, targets = torch.tensor([50.0, 50.0, -50.0, 50.0]), torch.tensor([1, 1, 1, 0])
    >>> soft_f_beta_loss(scores, targets)  # TP 2, FN 1, FP 1
    tensor(0.3333)
    """
    if not 0 < beta <= LARGEST_BETA:
        raise GptexError(f"beta is positive and {LARGEST_BETA:g} at most, where nothing but recall counts, not {beta}")
    scores, positive = _checked(scores, targets)
    found = torch.sigmoid(scores)
    missed = torch.sigmoid(-scores)  # not 1 - found, which is 0 where found is nearly 1
    errors = torch.where(positive, beta**2 * missed, found).sum()
    hits = (1 + beta**2) * torch.where(positive, found, 0).sum()
    return errors / (errors + hits).clamp(min=1e-12)


def _checked(scores: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Scores in one row, at least of float32 and finite unless nan, and which of them are positive."""
    if scores.shape != targets.shape:
        raise GptexError(f"scores of shape {tuple(scores.shape)} need targets of the same, not {tuple(targets.shape)}")
    scores = scores.flatten().to(torch.promote_types(scores.dtype, torch.float32))
    return scores.clamp(-SATURATED, SATURATED), targets.flatten() > 0
