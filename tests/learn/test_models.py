"""The demo nets and the classifiers, where gradient reaches through them, and the picture of it."""

import numpy as np
import pytest
import torch
from scipy import stats

from gptex import Backdrop, GptexError, plot_gradient_reach
from gptex.learn.gradients import gradient_reach
from gptex.learn.models import classifier, demo_net, smallest_side
from gptex.learn.regularizers import Regularizer


def nets(kind, **options):
    torch.manual_seed(0)
    return demo_net(kind, channels=8, **options)


def sizes(net):
    return [layer.kernel_size[0] for layer in net if isinstance(layer, torch.nn.Conv2d)]


@pytest.mark.parametrize(
    ("kind", "kernels", "fine"),
    [("A", [5] + 7 * [2], 0.3), ("B", [5] + 4 * [2] + 3 * [3], 0.3), ("C", [5] + 7 * [3], 0.85)],
)
def test_the_nets_are_those_of_the_paper(kind, kernels, fine):
    net = demo_net(kind)
    assert sizes(net) == kernels
    convolutions = [layer for layer in net if isinstance(layer, torch.nn.Conv2d)]
    assert {layer.out_channels for layer in convolutions} == {64}
    assert {layer.stride for layer in convolutions} == {(2, 2)}
    assert [layer.padding[0] for layer in convolutions] == [{5: 2, 3: 1, 2: 0}[size] for size in kernels]
    assert (net.fine.p, net.coarse.p) == (fine, 0.95)
    assert [name for name, _ in net.named_children()].index("fine") == 10
    assert [name for name, _ in net.named_children()][-1] == "coarse"


@pytest.mark.parametrize("kind", "ABC")
def test_the_masks_lie_on_maps_of_a_32nd_and_a_256th_of_the_image(kind):
    net = nets(kind)
    assert net(torch.randn(2, 1, 512, 1024)).shape == (2, 8, 2, 4)
    assert net.fine.last_mask.shape == (1, 1, 16, 32)
    assert net.coarse.last_mask.shape == (1, 1, 2, 4)
    assert nets(kind, n_classes=4)(torch.randn(2, 1, 512, 1024)).shape == (2, 4)


def test_another_net_is_refused():
    with pytest.raises(GptexError, match="A, B and C"):
        demo_net("D")


def reach(kind, x, **options):
    """Which pixels gradient reaches through many random nets with the same masks: one net has channels that are silent."""
    total = torch.zeros(x.shape[2:], dtype=torch.bool)
    for _ in range(6):
        net = demo_net(kind, channels=16, **options)
        net.fine.pin, net.coarse.pin = [(3, 2), (9, 9)], [(0, 0)]
        total |= gradient_reach(net, x)[0] > 0
    return total


def box(reached):
    rows, columns = reached.any(1).nonzero(), reached.any(0).nonzero()
    return (rows.min().item(), rows.max().item() + 1, columns.min().item(), columns.max().item() + 1)


def test_through_a_gradient_reaches_the_block_of_the_fine_survivor_inside_that_of_the_coarse_one():
    """Survivor (3, 2) of the map of a 32nd is 32 x 32 pixels, and the first convolution sees 2 more on a side less 1."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 512, 512)
    assert box(reach("A", x)) == (96 - 2, 128 + 1, 64 - 2, 96 + 1)  # and (9, 9) lies in a block that coarse drops
    assert box(reach("B", x)) == (96 - 2, 128 + 1, 64 - 2, 96 + 1)


def test_through_b_a_coarse_survivor_reaches_over_its_block():
    """Three convolutions of 3 see 15 positions of the fine map: the 8 of the block and the 7 before it, none after it."""
    torch.manual_seed(0)
    x = torch.randn(1, 1, 768, 768)
    boxes = {}
    for kind in "AB":
        total = torch.zeros(768, 768, dtype=torch.bool)
        for _ in range(6):
            net = demo_net(kind, channels=16, fine=0)
            net.coarse.pin = [(1, 1)]
            total |= gradient_reach(net, x)[0] > 0
        boxes[kind] = box(total)
    assert boxes["A"] == (256 - 2, 512 + 1, 256 - 2, 512 + 1)
    assert boxes["B"] == ((8 - 7) * 32 - 2, 512 + 1, (8 - 7) * 32 - 2, 512 + 1)


def test_the_reach_is_the_gradient_of_the_sum_and_touches_nothing():
    net = torch.nn.Sequential(torch.nn.Conv2d(2, 3, 3, bias=False), torch.nn.Flatten())
    net[0].weight.grad = before = torch.ones_like(net[0].weight)
    x = torch.randn(2, 2, 5, 4)
    with torch.no_grad():
        found = gradient_reach(net, x)
    weight = net[0].weight.detach().sum(0)  # what a pixel adds to the sum: the kernel's elements that lie on it
    wanted = torch.zeros(2, 5, 4)
    for row in range(3):
        for column in range(2):
            wanted[:, row : row + 3, column : column + 3] += weight
    torch.testing.assert_close(found, wanted.abs().sum(0).expand(2, 5, 4))
    assert net[0].weight.grad is before
    assert (before == 1).all()
    assert x.grad is None
    assert not x.requires_grad


def test_the_picture_shows_images_and_what_reaches_them():
    net = nets("A")
    x = torch.randn(2, 1, 256, 256)
    figure = plot_gradient_reach(net, x)
    (image, left), (_, right) = [(axes, axes.images[0].get_array()) for axes in figure.axes[:2]]
    np.testing.assert_array_equal(left, x[0, 0])
    assert len(figure.axes) == 4
    share = (np.asarray(right) > 0).mean()
    assert 0 < share < 1
    assert f"{100 * share:.1f} %" in figure.axes[1].get_title()
    assert image.get_title() == "input"


def test_a_picture_without_gradient_is_black():
    figure = plot_gradient_reach(lambda x: 0 * x, torch.ones(1, 3, 4, 4))
    assert "0.0 %" in figure.axes[1].get_title()


def test_what_is_no_batch_of_images_is_refused():
    with pytest.raises(GptexError, match=r"\(N, C, H, W\)"):
        plot_gradient_reach(nets("A"), torch.zeros(256, 256))


def test_without_matplotlib_the_picture_names_the_extra(run_python):
    done = run_python("""
import sys
sys.modules["matplotlib.figure"] = None
import gptex, torch
try:
    gptex.plot_gradient_reach(torch.nn.Identity(), torch.zeros(1, 1, 2, 2))
except gptex.MissingExtraError as error:
    print(error)
""")
    assert "gptex[plot]" in done.stdout


# -- classifiers


def up_to(net, place):
    """The layers of a net up to a place, with weights and biases of 1: gradient arrives wherever it can, and nowhere else."""
    names = [name for name, _ in net.named_children()]
    part = net[: names.index(place) + 1]
    with torch.no_grad():
        for parameter in part.parameters():
            parameter.fill_(0.1)
    return part


@pytest.mark.parametrize(
    ("name", "place", "block", "around"),
    [
        ("small", "fine", 32, (0, 0)),
        ("small", "coarse", 256, (0, 0)),
        ("tiny", "fine", 16, (0, 0)),
        ("tiny", "coarse", 64, (0, 0)),
        ("paper", "fine", 32, (2, 1)),
        ("paper", "coarse", 256, (2, 1)),
    ],
)
def test_a_position_sees_a_block_of_its_own(name, place, block, around):
    """The first convolution of the paper's net, of 5 pixels and stride 2, sees 2 more before it and 1 after it."""
    part, before, after = up_to(classifier(name, 4, channels=2), place), *around
    side = 3 * block
    x = torch.ones(1, 1, side, side + block, requires_grad=True)
    out = part(x)
    assert out.shape == (1, 2, 3, 4)
    for row, column in ((1, 2), (0, 0), (2, 3)):
        (gradient,) = torch.autograd.grad(out[0, :, row, column].sum(), x, retain_graph=True)
        wanted = torch.zeros(side, side + block, dtype=torch.bool)
        rows = slice(max(row * block - before, 0), (row + 1) * block + after)
        wanted[rows, max(column * block - before, 0) : (column + 1) * block + after] = True
        assert torch.equal(gradient[0, 0] > 0, wanted)


@pytest.mark.parametrize(
    ("name", "options", "parameters"),
    [
        ("paper", {}, (25 * 64 + 64) + 7 * (4 * 64 * 64 + 64) + (64 * 9 + 9)),
        ("small", {}, (16 * 16 + 16) + 6 * (4 * 16 * 16 + 16) + (16 * 9 + 9)),
        ("tiny", {}, (16 * 16 + 16) + 4 * (4 * 16 * 16 + 16) + (16 * 9 + 9)),
        ("tiny", {"channels": 3}, (16 * 3 + 3) + 4 * (4 * 3 * 3 + 3) + (3 * 9 + 9)),
    ],
)
def test_a_classifier_has_the_parameters_that_one_counts_by_hand(name, options, parameters):
    assert sum(parameter.numel() for parameter in classifier(name, 9, **options).parameters()) == parameters


def test_weights_begin_as_he_et_al_say_and_not_as_torch_would():
    """Sums of squares over variance 2 / fan-in are chi-square; false alarm 1e-4 for each of the two checks of a layer."""
    torch.manual_seed(0)

    def alarms(layers):
        found = []
        for layer in layers:
            weights = layer.weight.detach().double().numpy().ravel()
            fan_in = layer.in_channels * layer.kernel_size[0] * layer.kernel_size[1]
            total = (weights**2).sum() / (2 / fan_in)
            found.append(not stats.chi2.ppf(0.5e-4, weights.size) < total < stats.chi2.ppf(1 - 0.5e-4, weights.size))
            found[-1] |= abs(weights.sum()) > stats.norm.isf(0.5e-4) * np.sqrt(2 / fan_in * weights.size)
        return found

    convolutions = [
        layer for name in ("paper", "small", "tiny") for layer in classifier(name, 4) if isinstance(layer, torch.nn.Conv2d)
    ]
    assert len(convolutions) == 8 + 7 + 5
    assert not any(alarms(convolutions))
    assert all(not layer.bias.any() for layer in convolutions)
    assert all(alarms([layer for layer in demo_net("A") if isinstance(layer, torch.nn.Conv2d)]))  # torch's own


@pytest.mark.parametrize(
    ("name", "shape", "fine", "coarse"),
    [
        ("paper", (256, 300), (8, 9), (1, 1)),
        ("small", (300, 543), (9, 16), (1, 2)),
        ("tiny", (64, 100), (4, 6), (1, 1)),
        ("tiny", (211, 129), (13, 8), (3, 2)),
    ],
)
def test_images_need_not_be_multiples_of_a_block(name, shape, fine, coarse):
    net = classifier(name, 5, channels=4, regularizer=Regularizer.parse("backdrop:fine=0.5,coarse=0.5"))
    assert net.train()(torch.randn(2, 1, *shape)).shape == (2, 5)
    assert net.fine.last_mask.shape == (1, 1, *fine)
    assert net.coarse.last_mask.shape == (1, 1, *coarse)


def test_regularizers_stand_after_the_convolutions_that_see_the_fine_and_the_coarse_scale():
    for name, fine, coarse in (("paper", 5, 8), ("small", 4, 7), ("tiny", 3, 5)):
        net = classifier(name, 4, regularizer=Regularizer.parse("backdrop:fine=0.2,coarse=0.7"))
        names = [child for child, _ in net.named_children()]
        assert names[2 * fine - 1 : 2 * fine + 1] == [f"relu{fine - 1}", "fine"]
        assert names[2 * coarse : 2 * coarse + 2] == [f"relu{coarse - 1}", "coarse"]
        assert names[-3:] == ["pool", "flatten", "classify"]
        assert isinstance(net.fine, Backdrop)
        assert (net.fine.p, net.coarse.p) == (0.2, 0.7)


def test_the_classifier_is_the_mean_over_positions_and_a_linear_layer():
    torch.manual_seed(1)
    net = classifier("tiny", 3)
    x = torch.randn(2, 1, 128, 192)
    maps = net[:-3](x)
    assert maps.shape == (2, 16, 2, 3)
    torch.testing.assert_close(net(x), maps.mean((2, 3)) @ net.classify.weight.T + net.classify.bias)


def test_another_classifier_is_refused():
    with pytest.raises(GptexError, match="did you mean 'tiny'"):
        classifier("tinny", 4)


@pytest.mark.parametrize(
    ("name", "side", "too_small"),
    [("paper", 256, 254), ("small", 256, 255), ("tiny", 64, 63)],  # the paper's first convolution is padded by 2 of 5
)
def test_the_smallest_side_leaves_something_and_less_does_not(name, side, too_small):
    net = classifier(name, 4, channels=2)
    assert smallest_side(net) == side
    assert net(torch.zeros(1, 1, side, side)).shape == (1, 4)
    with pytest.raises(RuntimeError, match=r"Kernel size|Output size"):
        net(torch.zeros(1, 1, too_small, side))
