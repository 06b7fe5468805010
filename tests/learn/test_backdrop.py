"""Backdrop: the identity to the bit on the way forward; on the way back the gradient times a mask, by hand."""

import copy
import math
import pickle
import re
from pathlib import Path

import pytest
import torch
from scipy import stats

from gptex import Backdrop, GptexError, backdrop
from gptex.learn import mask_gradient

AWKWARD = [0.0, -0.0, 1e-45, 3e38, math.inf, -math.inf, math.nan, 1.0]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def gradient(layer, x, arriving):
    """What is left of the gradient `arriving` at the output."""
    x = x.detach().requires_grad_()
    return torch.autograd.grad(layer(x), x, arriving)[0]


def weights(layer, shape, arriving=3.0):
    """What the gradient is multiplied by, element by element."""
    return gradient(layer, torch.randn(shape), torch.full(shape, arriving)) / arriving


# -- forward


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
@pytest.mark.parametrize("normalize", ["realized", "expected", "none"])
def test_the_bits_of_the_input_come_out(dtype, normalize):
    x = torch.tensor(AWKWARD).to(dtype).reshape(1, 1, 2, 4).requires_grad_()
    y = backdrop(x, 0.5, normalize=normalize)
    assert y.requires_grad
    assert y.dtype == dtype
    assert torch.equal(x.detach().view(torch.uint8), y.detach().view(torch.uint8))


def test_without_probability_and_in_evaluation_the_input_itself_comes_out_and_nothing_is_drawn():
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    before = torch.get_rng_state()
    assert backdrop(x, 0) is x
    assert Backdrop(0.0)(x) is x
    assert Backdrop(0.9).eval()(x) is x
    assert torch.equal(torch.get_rng_state(), before)
    assert Backdrop(0.9)(x) is not x


def test_an_empty_input_passes():
    x = torch.empty(0, 3, requires_grad=True)
    assert backdrop(x, 0.5, dims=(0,)) is x
    assert Backdrop(0.5, dims=(0, 1), pin=[(0, 0)])(x) is x


def test_a_change_in_place_right_after_is_refused_rather_than_wrong():
    x = torch.randn(1, 1, 2, 2, requires_grad=True) * 1
    with pytest.raises(RuntimeError, match="modified inplace"):
        torch.relu_(backdrop(x, 0.5))


# -- masks


@pytest.mark.parametrize(
    ("dims", "shape"),
    [
        ((2, 3), (1, 1, 4, 5)),
        ((-2, -1), (1, 1, 4, 5)),
        ((0,), (2, 1, 1, 1)),
        (0, (2, 1, 1, 1)),
        ((0, 2, 3), (2, 1, 4, 5)),
        ((3, -4), (2, 1, 1, 5)),
        ((1,), (1, 3, 1, 1)),
        ((0, 1, 2, 3), (2, 3, 4, 5)),
    ],
)
def test_a_mask_varies_along_dims_and_is_shared_along_the_rest(dims, shape):
    layer = Backdrop(0.5, dims, generator=seeded(), normalize="none")
    passed = weights(layer, (2, 3, 4, 5))
    assert layer.last_mask.shape == shape
    assert layer.last_mask.dtype == torch.bool
    assert torch.equal(passed, layer.last_mask.float().expand(2, 3, 4, 5))


def test_masks_of_samples_differ_and_each_keeps_somebody_and_is_normalized_by_itself():
    passed = weights(Backdrop(0.95, (0, 2, 3), generator=seeded()), (64, 2, 4, 4))
    kept = (passed[:, 0] > 0).sum((1, 2))
    assert kept.min() >= 1
    assert len(set(kept.tolist())) > 1
    torch.testing.assert_close(passed.amax((1, 2, 3)), 16 / kept.float())
    torch.testing.assert_close(passed.sum((1, 2, 3)), torch.full((64,), 32.0))  # elements of a sample, whatever was kept


def test_a_batch_mask_drops_whole_samples_also_where_the_batch_is_as_long_as_the_width():
    passed = weights(Backdrop(0.5, (0,), generator=seeded(), normalize="none"), (4, 4, 4, 4))
    assert set(passed.sum((1, 2, 3)).tolist()) == {0.0, 64.0}


def test_survivors_are_as_many_as_p_says():
    """Two-sided binomial test at a false-alarm rate of 1e-6; three per mille more or less would fail it."""
    layer, kept = Backdrop(0.3, generator=seeded(1)), 0
    for _ in range(100):
        layer(torch.zeros(1, 1, 100, 100))
        kept += int(layer.last_mask.sum())
    assert stats.binomtest(kept, 10**6, 0.7).pvalue > 1e-6
    assert stats.binomtest(kept, 10**6, 0.703).pvalue < 1e-6


def test_where_chance_leaves_none_one_survives_each_with_the_same_chance():
    """Chi-squared at a false-alarm rate of 1e-6."""
    layer, counts = Backdrop(1 - 1e-7, (0,), generator=seeded(2)), torch.zeros(5)
    for _ in range(3000):
        layer(torch.zeros(5))
        assert layer.last_mask.sum() == 1
        counts += layer.last_mask
    assert stats.chisquare(counts.numpy()).pvalue > 1e-6


def test_survivors_that_chance_left_are_independent():
    """p = 1/2 of two elements: each alone 1/4 + 1/8, both 1/4. Chi-squared at a false-alarm rate of 1e-6."""
    layer, counts = Backdrop(0.5, (0,), generator=seeded(3)), [0, 0, 0]
    for _ in range(4000):
        layer(torch.zeros(2))
        counts[2 if layer.last_mask.all() else int(layer.last_mask[1])] += 1
    assert stats.chisquare(counts, [1500, 1500, 1000]).pvalue > 1e-6


# -- backward


def test_survivors_are_scaled_by_elements_over_survivors_by_the_expected_or_not_at_all():
    for normalize, scale in [("realized", None), ("expected", 5.0), ("none", 1.0)]:
        layer = Backdrop(0.8, generator=seeded(4), normalize=normalize)
        passed = weights(layer, (2, 3, 8, 8))
        wanted = scale or 64 / int((passed[0, 0] > 0).sum())
        assert sorted(set(passed.flatten().tolist())) == pytest.approx([0, wanted])


def test_what_is_dropped_is_zero_also_where_nan_arrives():
    x, mask = torch.randn(4), torch.tensor([True, False, False, True])
    arriving = torch.tensor([1.0, math.nan, math.inf, 2.0])
    assert gradient(lambda x: mask_gradient(x, mask, 3), x, arriving).tolist() == [3, 0, 0, 6]


@pytest.mark.parametrize("normalize", ["realized", "expected"])
def test_what_is_dropped_is_zero_where_the_factor_is_too_large_for_the_type(normalize):
    """1 / (1 - p), or 2^18 elements over one survivor: more than 65504, the largest number of float16."""
    x = torch.zeros(1, 1, 512, 512, dtype=torch.float16, requires_grad=True)
    layer = Backdrop(0.99999, normalize=normalize, pin=[(0, 0)])
    layer(x).sum().backward()
    assert x.grad[0, 0, 0, 0] == 65504
    assert x.grad.count_nonzero() == 1


def test_infinite_and_nan_inputs_get_their_gradient():
    x, mask = torch.tensor([math.inf, math.inf, math.nan, -math.inf]), torch.tensor([True, False, True, True])
    assert gradient(lambda x: mask_gradient(x, mask, 3), x, torch.ones(4)).tolist() == [3, 0, 3, 3]


def test_a_scale_for_each_sample():
    mask, scale = torch.tensor([[True, False], [True, True]]), torch.tensor([[2.0], [1.0]])
    assert gradient(lambda x: mask_gradient(x, mask, scale), torch.randn(2, 2), torch.ones(2, 2)).tolist() == [[2, 0], [1, 1]]


def test_in_double_precision_the_scale_is_of_double_precision():
    layer = Backdrop(0.5, (0,), generator=seeded())
    x = torch.zeros(7, dtype=torch.float64, requires_grad=True)
    layer(x).sum().backward()
    assert x.grad.max().item() == 7 / int(layer.last_mask.sum())


def test_the_mean_gradient_is_the_gradient():
    """Expected normalization is unbiased but for the rescued mask; 1000 masks of 64, five standard errors."""
    layer = Backdrop(0.75, generator=seeded(5), normalize="expected")
    mean = sum(weights(layer, (1, 1, 8, 8)) for _ in range(1000)) / 1000
    assert (mean - 1).abs().max() < 5 * math.sqrt(0.25 * 0.75 / 1000) / 0.25
    assert (mean - 1).abs().mean() > 0.01  # and masks there were


def test_what_lies_behind_a_layer_is_untouched():
    inner, outer = torch.nn.Linear(4, 3), torch.nn.Linear(3, 2)
    x, arriving = torch.randn(5, 4), torch.randn(5, 2)
    layer = Backdrop(0.5, (0,), generator=seeded(6))
    outer(layer(inner(x))).backward(arriving)
    torch.testing.assert_close(outer.weight.grad, arriving.T @ inner(x))
    passed = layer.last_mask * 5 / layer.last_mask.sum() * arriving
    torch.testing.assert_close(inner.weight.grad, (passed @ outer.weight).T @ x)


# -- reproducing, pinning, keeping


def test_a_generator_makes_masks_again_and_torchs_own_is_left_alone():
    before = torch.get_rng_state()
    first, again, other = (weights(Backdrop(0.5, generator=seeded(s)), (1, 1, 6, 6)) for s in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    x = torch.zeros(1, 1, 6, 6)
    torch.set_rng_state(before)
    backdrop(x, 0.5, generator=seeded())
    assert torch.equal(torch.get_rng_state(), before)
    backdrop(x, 0.5)
    assert not torch.equal(torch.get_rng_state(), before)


def test_pinned_survivors_survive_in_each_pass_and_nobody_else():
    layer = Backdrop(0.9, pin=[(1, 2), (-1, 0)])
    for _ in range(2):
        passed = weights(layer, (2, 3, 4, 5))
        assert passed[0, 0].nonzero().tolist() == [[1, 2], [3, 0]]
        assert passed.max() == 10
    assert Backdrop(0, pin=[(0, 0)])(torch.ones(1, 1, 2, 2)).shape == (1, 1, 2, 2)


def test_pinned_samples_leave_the_others_without_gradient():
    passed = weights(Backdrop(0.9, (0, -1), pin=[(1, 2)]), (3, 4))
    assert passed.nonzero().tolist() == [[1, 2]]
    assert passed[1, 2] == 4


def test_the_layer_says_what_it_is_keeps_no_state_and_can_be_copied():
    layer = Backdrop(0.25, -1, normalize="none", generator=seeded(9))
    assert repr(layer) == "Backdrop(p=0.25, dims=(-1,), normalize='none')"
    weights(layer, (2, 8))
    assert layer.state_dict() == {}
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert torch.equal(twin.last_mask, layer.last_mask)
    twin = copy.deepcopy(layer)
    assert torch.equal(weights(twin, (2, 8)), weights(layer, (2, 8)))


# -- refusals


@pytest.mark.parametrize("p", [-0.1, 1, 1.5, math.nan])
def test_a_p_outside_0_to_1_is_refused(p):
    for make in (Backdrop, lambda p: backdrop(torch.zeros(1, 1, 2, 2), p)):
        with pytest.raises(GptexError, match="at least 0 and below 1"):
            make(p)


@pytest.mark.parametrize(
    ("dims", "message"),
    [
        ((2, 3), "an input that has them"),
        ((-3,), "an input that has them"),
        ((0, -2), "twice"),
        ((1, 1), "twice"),
        ((), "at least one axis"),
    ],
)
def test_dims_that_the_input_lacks_are_refused_also_where_nothing_is_dropped(dims, message):
    x = torch.zeros(3, 4)
    for p in (0, 0.5):
        with pytest.raises(GptexError, match=message):
            backdrop(x, p, dims)
        with pytest.raises(GptexError, match=message):
            Backdrop(p, dims).eval()(x)


def test_another_normalization_is_refused_with_the_nearest_one():
    for make in (Backdrop, lambda p, normalize: backdrop(torch.zeros(1, 1, 2, 2), p, normalize=normalize)):
        with pytest.raises(GptexError, match="did you mean 'realized'"):
            make(0.5, normalize="realised")


def test_positions_that_do_not_fit_are_refused():
    with pytest.raises(GptexError, match="an index for each of the axes"):
        Backdrop(0.5, pin=[(1,)])
    with pytest.raises(GptexError, match=r"no position \(2, 0\)"):
        Backdrop(0.5, pin=[(2, 0)])(torch.zeros(1, 1, 2, 2))


@pytest.mark.slow
def test_the_python_of_its_page_runs_from_top_to_bottom(run_python):
    page = (Path(__file__).parents[2] / "docs/backdrop.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    assert len(blocks) == 3
    done = run_python("\n".join(["import gptex", *blocks]))
    assert (done.returncode, done.stderr) == (0, "")
