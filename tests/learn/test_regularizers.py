"""Regularizers: their texts, DropBlock and its shares, the same noise for any number of processes, random crops."""

import numpy as np
import pytest
import torch
from scipy import ndimage, stats

from gptex import Backdrop, GptexError
from gptex.learn.regularizers import PARAMETERS, DropBlock, Regularizer, SampleNoise, crop_shape, parse_parameters, random_crop

SURE = 1e-4  # false alarms of each statistical check here, whose seeds are fixed: a check passes for good or not at all


# -- texts


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("none", "none"),
        ("backdrop", "backdrop:fine=0.3,coarse=0.95"),
        ("backdrop:coarse=0.5", "backdrop:fine=0.3,coarse=0.5"),
        ("backdrop:coarse=0,fine=0", "backdrop:fine=0,coarse=0"),
        ("dropout: fine = 0.25", "dropout:fine=0.25,coarse=0.3"),
        ("dropblock:size=5", "dropblock:fine=0.1,coarse=0.1,size=5"),
        ("crop:share=1", "crop:share=1"),
        ("crop:", "crop:share=0.5"),
    ],
)
def test_a_text_is_filled_with_defaults_and_read_again(text, whole):
    made = Regularizer.parse(text)
    assert str(made) == whole
    assert Regularizer.parse(whole) == made
    assert Regularizer(method=made.method, parameters=made.parameters) == made


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("backdrp", "did you mean 'backdrop'"),
        ("", "there is no regularizer ''"),
        ("Backdrop", "there is no regularizer 'Backdrop'"),
        ("backdrop:fin=0.1", "backdrop has no parameter 'fin': did you mean 'fine'"),
        ("dropout:size=3", "dropout has no parameter 'size'"),
        ("none:fine=0.1", "none has no parameter 'fine': it has none"),
        ("backdrop:fine=1", "drop probability"),
        ("dropout:coarse=-0.1", "drop probability"),
        ("dropblock:fine=nan", "drop probability"),
        ("dropout:fine=inf", "drop probability"),
        ("dropblock:size=0", "size is a whole number"),
        ("dropblock:size=2.5", "size is a whole number"),
        ("dropblock:size=nan", "size is a whole number"),
        ("crop:share=0", "share is above 0"),
        ("crop:share=1.01", "share is above 0"),
        ("crop:share=nan", "share is above 0"),
        ("backdrop:fine=0.1,fine=0.1", "fine is given twice"),
        ("backdrop:fine=0.1, fine=0.2", "fine is given twice"),
        ("backdrop:fine=much", "parameters are numbers by name"),
        ("backdrop:fine", "parameters are numbers by name"),
        ("backdrop:0.3,0.95", "parameters are numbers by name"),
        ("backdrop:fine=0.1,", "parameters are numbers by name"),
        ("backdrop:fine=0.1;coarse=0.2", "parameters are numbers by name"),
    ],
)
def test_a_text_that_cannot_be_is_refused(text, says):
    with pytest.raises(GptexError, match=says):
        Regularizer.parse(text)


def test_parameters_of_other_types_are_refused():
    with pytest.raises(GptexError, match=r"parameters\.share"):
        Regularizer(method="crop", parameters={"share": "half"})
    with pytest.raises(GptexError, match="parameters"):
        Regularizer(method="crop", parameters=None)
    with pytest.raises(GptexError, match="did you mean 'method'"):
        Regularizer(methd="crop")


def test_numbers_by_name_are_floats():
    assert parse_parameters("a=1,b = 2.5e-1") == {"a": 1.0, "b": 0.25}


def test_the_layers_stand_where_they_should_with_their_parameters():
    made = Regularizer.parse("backdrop:fine=0.2,coarse=0.7")
    layers = made.layer("fine"), made.layer("coarse")
    assert [type(layer) for layer in layers] == [Backdrop, Backdrop]
    assert [layer.p for layer in layers] == [0.2, 0.7]
    made = Regularizer.parse("dropout:fine=0.2,coarse=0.7")
    layers = made.layer("fine"), made.layer("coarse")
    assert [type(layer.layer) for layer in layers] == [torch.nn.Dropout] * 2
    assert [layer.layer.p for layer in layers] == [0.2, 0.7]
    made = Regularizer.parse("dropblock:fine=0.2,coarse=0.4,size=4")
    layers = made.layer("fine"), made.layer("coarse")
    assert [(layer.layer.p, layer.layer.size) for layer in layers] == [(0.2, 4), (0.4, 4)]
    for method in ("none", "crop"):
        assert type(Regularizer(method=method).layer("coarse")) is torch.nn.Identity
    assert set(PARAMETERS) == {"none", "backdrop", "dropout", "dropblock", "crop"}


# -- DropBlock


def dropped(layer, shape, seed):
    """Where a layer sets ones to 0, and what it makes of the others."""
    torch.manual_seed(seed)
    out = layer.train()(torch.ones(shape)).numpy()
    return out == 0, out


def test_nothing_is_dropped_in_evaluation_nor_with_probability_0():
    x = torch.randn(2, 3, 8, 8)
    assert DropBlock(0.5, 3).eval()(x) is x
    assert DropBlock(0.0, 3).train()(x) is x


def test_blocks_of_one_are_dropped_as_often_as_a_binomial_says():
    """250 000 elements tell 0.3 from 0.31 by eleven standard deviations."""
    zeros, _ = dropped(DropBlock(0.3, 1), (5, 5, 100, 100), 1)

    def alarm(p):
        return stats.binomtest(int(zeros.sum()), zeros.size, p).pvalue < SURE

    assert not alarm(0.3)
    assert alarm(0.31)


@pytest.mark.parametrize(("shape", "size", "p"), [((9, 12), 3, 0.2), ((7, 6), 4, 0.3), ((8, 8), 2, 0.1)])
def test_blocks_are_dropped_as_often_as_their_corners_say(shape, size, p):
    """An element is dropped unless none of the blocks that could cover it begins; maps are independent, so a z test.

    The wrong case leaves out the paper's correction for the edges, where fewer blocks fit.
    """
    zeros, _ = dropped(DropBlock(p, size), (60, 100, *shape), 2)
    shares = zeros.reshape(6000, -1).mean(1)
    covering = [np.convolve(np.ones(length - size + 1), np.ones(size)) for length in shape]  # blocks over each row or column
    over = np.multiply.outer(*covering)
    corners = np.prod([length - size + 1 for length in shape])

    def alarm(chance):
        wanted = (1 - (1 - chance) ** over).mean()
        z = (shares.mean() - wanted) / (shares.std() / np.sqrt(len(shares)))
        return 2 * stats.norm.sf(abs(z)) < SURE

    assert not alarm(p / size**2 * np.prod(shape) / corners)
    assert alarm(p / size**2)
    assert shares.mean() < p


@pytest.mark.parametrize("size", [2, 3, 4])
def test_every_zero_lies_in_a_block_of_zeros_inside_the_map(size):
    def in_blocks(zeros):
        square = np.ones((size, size), bool)
        return all(np.array_equal(ndimage.binary_opening(each, square), each) for each in zeros.reshape(-1, 16, 11))

    zeros, _ = dropped(DropBlock(0.2, size), (20, 10, 16, 11), 3)
    assert 0.1 < zeros.mean() < 0.2
    assert in_blocks(zeros)
    assert not in_blocks(dropped(torch.nn.Dropout(0.2), (20, 10, 16, 11), 3)[0])
    reached = zeros.reshape(-1, 16, 11).any(0)
    assert reached.all()  # the edges too
    assert len({channel.tobytes() for channel in zeros.reshape(-1, 16, 11)}) > 150  # each channel has its own


@pytest.mark.parametrize("size", [1, 3])
def test_what_is_left_is_scaled_up_so_that_the_mean_is_kept(size):
    zeros, out = dropped(DropBlock(0.4, size), (4, 6, 10, 10), 4)
    assert out.mean() == pytest.approx(1, rel=1e-6)
    assert np.unique(out[~zeros]).tolist() == pytest.approx([1 / (1 - zeros.mean())])


@pytest.mark.parametrize(("shape", "size", "p"), [((9, 12), 3, 0.2), ((6, 7), 2, 0.5), ((4, 9), 7, 0.3)])
def test_it_is_the_algorithm_of_the_paper_written_with_loops(shape, size, p):
    """Ghiasi, Lin and Le 2018, algorithm 1: seeds with probability gamma where a block fits, blocks of zeros, rescaled."""
    x = torch.randn(3, 4, *shape, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(5)
    found = DropBlock(p, size)(x).numpy()
    side = min(size, *shape)
    rows, columns = shape[0] - side + 1, shape[1] - side + 1
    gamma = p / side**2 * (shape[0] * shape[1]) / (rows * columns)
    torch.manual_seed(5)
    seeds = torch.rand(3, 4, rows, columns).numpy() < gamma
    mask = np.ones(x.shape)
    for sample, channel, row, column in np.argwhere(seeds):
        mask[sample, channel, row : row + side, column : column + side] = 0
    assert 0 < mask.mean() < 1
    np.testing.assert_allclose(found, x.numpy() * mask * mask.size / mask.sum(), rtol=1e-5)


def test_a_block_larger_than_the_map_is_a_square_of_its_shorter_side():
    zeros, _ = dropped(DropBlock(0.5, 9), (50, 20, 2, 2), 6)
    channels = zeros.reshape(-1, 4)
    assert set(channels.sum(1)) == {0, 4}
    share = stats.binomtest(int(channels[:, 0].sum()), 1000, 0.5)
    assert share.pvalue > SURE
    assert stats.binomtest(int(channels[:, 0].sum()), 1000, 0.4).pvalue < SURE


def test_a_batch_that_is_dropped_whole_is_0_and_no_nan():
    torch.manual_seed(0)
    x = torch.ones(1, 1, 2, 2, requires_grad=True)
    out = DropBlock(0.9999, 2)(x)
    out.sum().backward()
    assert torch.equal(out, torch.zeros(1, 1, 2, 2))
    assert torch.equal(x.grad, torch.zeros(1, 1, 2, 2))


def test_other_precisions_are_kept():
    torch.manual_seed(0)
    assert DropBlock(0.3, 2)(torch.ones(2, 2, 6, 6, dtype=torch.bfloat16)).dtype == torch.bfloat16


# -- the same noise for any number of processes


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("text", ["dropout:fine=0.4", "dropblock:fine=0.4,size=2"])
def test_the_rows_of_several_processes_are_those_of_one(text, world_size):
    x = torch.randn(6, 3, 8, 9, generator=torch.Generator().manual_seed(1))
    layer = Regularizer.parse(text).layer("fine")
    torch.manual_seed(2)
    whole = layer(x)
    stacked = torch.full_like(x, torch.nan)
    after = set()
    for rank in range(world_size):
        torch.manual_seed(2)
        layer.rank, layer.world_size = rank, world_size
        stacked[rank::world_size] = layer(x[rank::world_size])
        after.add(torch.rand(1).item())
    assert torch.equal(stacked, whole)
    assert len(after) == 1  # all go on with the same numbers
    assert not torch.equal(whole[0] == 0, whole[1] == 0)
    assert 0.15 < (whole == 0).float().mean() < 0.5


def test_noise_is_what_the_layer_does_by_itself():
    x = torch.randn(4, 3, 5, 6)
    for layer in (torch.nn.Dropout(0.3), DropBlock(0.3, 2)):
        torch.manual_seed(3)
        alone = layer(x)
        torch.manual_seed(3)
        torch.testing.assert_close(SampleNoise(layer)(x), alone)


def test_noise_multiplies_the_gradient_too_and_stops_in_evaluation():
    x = torch.randn(4, 3, 5, 6, requires_grad=True)
    layer = SampleNoise(torch.nn.Dropout(0.5))
    out = layer(x)
    out.sum().backward()
    torch.testing.assert_close(x.grad, torch.where(out == 0, 0.0, 2.0))
    assert layer.eval()(x) is x


# -- crops


def numbered(count, height, width):
    """Images of two channels, in which each pixel has a number of its own."""
    return torch.arange(count * 2 * height * width, dtype=torch.float64).reshape(count, 2, height, width)


def places(images, crops):
    """Where each crop lies in its image, found by its first pixel; that it is that window is checked."""
    found = []
    for image, crop in zip(images, crops, strict=True):
        ((row, column),) = torch.nonzero(image[0] == crop[0, 0, 0]).tolist()
        assert torch.equal(image[:, row : row + crop.shape[1], column : column + crop.shape[2]], crop)
        found.append((row, column))
    return found


def test_each_crop_is_a_window_of_its_image_at_a_place_of_its_own_all_equally_likely():
    """9000 crops at 5 x 6 places; the wrong case never takes the last row or column, as rounding down could."""
    images = numbered(9000, 8, 10)
    torch.manual_seed(0)
    crops = random_crop(images, 0.5)
    assert crops.shape == (9000, 2, 4, 5)

    def alarm(found):
        counts = np.zeros((5, 6))
        np.add.at(counts, tuple(np.transpose(found)), 1)
        return stats.chisquare(counts.ravel()).pvalue < SURE

    assert not alarm(places(images, crops))
    rng = np.random.default_rng(0)
    assert alarm(np.stack([rng.integers(4, size=9000), rng.integers(5, size=9000)], axis=1))


def test_a_share_of_1_is_the_image():
    images = numbered(3, 8, 10)
    assert torch.equal(random_crop(images, 1.0), images)


@pytest.mark.parametrize(
    ("shape", "share", "wanted"), [((64, 100), 0.5, (32, 50)), ((10, 7), 0.3, (3, 2)), ((3, 3), 0.01, (1, 1)), ((9,), 1, (9,))]
)
def test_a_crop_has_its_share_of_each_side_and_a_pixel_at_least(shape, share, wanted):
    assert crop_shape(shape, share) == wanted


@pytest.mark.parametrize("world_size", [2, 3])
def test_the_crops_of_several_processes_are_those_of_one(world_size):
    images = numbered(12, 8, 10)
    torch.manual_seed(4)
    whole = random_crop(images, 0.5)
    stacked = torch.zeros_like(whole)
    for rank in range(world_size):
        torch.manual_seed(4)
        stacked[rank::world_size] = random_crop(images[rank::world_size], 0.5, rank, world_size)
    assert torch.equal(stacked, whole)
    assert len(set(places(images, whole))) > 6
