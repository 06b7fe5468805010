"""Training is what a bare loop of torch does, from whatever source, and refuses what cannot be."""

import copy
import json
import math
import shutil

import pytest
import torch
from torch.nn import functional

from gptex import Component, GptexError, Recipe
from gptex.fields.streams import stream
from gptex.learn import Backdrop, RecipeDataset, ShardShuffle, evaluate
from gptex.learn.models import classifier
from gptex.learn.regularizers import Regularizer


def weights(folder):
    return torch.load(folder / "last.pt", weights_only=True)["model"]


def same_weights(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def scores(result):
    """A result without what is not a number that was measured."""
    return {key: value for key, value in result.as_json().items() if "reference" not in key}


def two_classes(scales, **counts):
    return Recipe(name="two", shape=[64, 64], components=[Component(name="only", length_scales=scales)], splits=counts)


# -- sources and parts


def test_a_recipe_its_file_and_its_folder_train_the_same_net(easy, easy_folder, fit, metrics, tmp_path):
    results = {
        name: fit(source, name)
        for name, source in {"recipe": easy, "file": easy_folder / "recipe.toml", "folder": easy_folder}.items()
    }
    assert len({json.dumps(metrics(tmp_path / name)) for name in results}) == 1
    assert len({json.dumps(scores(result)) for result in results.values()}) == 1
    assert all(same_weights(weights(tmp_path / "recipe"), weights(tmp_path / name)) for name in results)


@pytest.mark.parametrize(
    ("options", "counts"),
    [
        pytest.param({}, {"train": 40, "val": 12, "test": 20}, id="splits"),
        pytest.param({"val": "0.2"}, {"train": 32, "val": 8, "test": 20}, id="a share to validate on"),
        pytest.param({"val": "0.2", "test": "0.2"}, {"train": 24, "val": 8, "test": 8}, id="two shares"),
        pytest.param({"train": "train:16", "test": "test:8"}, {"train": 16, "val": 12, "test": 8}, id="the first so many"),
        pytest.param({"val": "test:8", "test": "val"}, {"train": 40, "val": 8, "test": 12}, id="splits of other names"),
    ],
)
def test_parts_have_the_sizes_that_were_asked_for(options, counts, easy_folder, fit, metrics, tmp_path):
    result = fit(easy_folder, epochs=1, **options)
    assert json.loads((tmp_path / "run" / "config.json").read_bytes())["data"]["textures"] == counts
    assert (result.last.textures, result.best.textures) == (counts["test"], counts["test"])
    (row,) = metrics(tmp_path / "run")
    for part in ("train", "val"):
        hits = float(row[f"{part}_accuracy"]) * counts[part]
        assert hits == pytest.approx(round(hits), abs=1e-9)


def test_without_parts_to_validate_and_to_test_on_there_are_no_such_numbers(easy, fit, metrics, tmp_path):
    result = fit(easy.replace(splits={"train": 4}))
    assert (result.last, result.best, result.best_epoch) == (None, None, None)
    assert "no test data" in str(result)
    assert {key for row in metrics(tmp_path / "run") for key in row if key.startswith(("val", "test"))} == set()
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.json", "metrics.csv", "last.pt", "result.json"}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"batch_size": 41}, "a batch has 41 textures, and there are 40"),
        ({"model": "small"}, "256 pixels a side"),
        ({"regularizer": "crop:share=0.5"}, "crops"),
        ({"train": "0.5"}, "train is a split"),
        ({"val": "train"}, "cannot serve for two"),
        ({"val": "0.001"}, "no textures for val"),
        ({"test": "other"}, "'other'"),
        ({"lr": float("inf")}, "lr"),
        ({"modle": "tiny"}, "did you mean 'model'"),
        ({"device": "abacus"}, "no device 'abacus'"),
        ({"model": "custom"}, "net="),
    ],
    ids=lambda value: value if isinstance(value, str) else "-".join(f"{key}={each}" for key, each in value.items()),
)
def test_what_cannot_be_is_refused_before_anything_is_written(options, says, easy_folder, fit, tmp_path):
    with pytest.raises(GptexError, match=says):
        fit(easy_folder, **options)
    assert not (tmp_path / "run").exists()


# -- what is learned


def test_easy_classes_are_learned(fit):
    """A net that guesses names 37 of 40 right less than once in 10**7 times."""
    assert fit(two_classes([1, 6], train=16, test=20), epochs=8, lr=0.005).last.accuracy > 0.9


def test_what_cannot_be_told_apart_is_not_learned(fit):
    """With scales of 8 and 8.0001 pixels there is nothing to learn: a number of hits that guessing gives 19 times of 20."""
    result = fit(two_classes([8, 8.0001], train=16, test=100), epochs=8)
    low, high = result.last.interval
    assert low < 0.5 < high
    assert abs(result.last.accuracy - 0.5) < 1.96 * math.sqrt(0.25 / 200)


# -- the loop


def bare(recipe, seed=0, epochs=2, regularizer="none", optimizer=None, rate=lambda epoch: 0.01):
    """Losses of the epochs, and the weights after them, by nothing but torch."""
    dataset = RecipeDataset(recipe)
    images = torch.stack([image for image, _ in dataset])
    labels = torch.tensor([label for _, label in dataset])
    torch.manual_seed(stream(seed, 0).random_raw())
    net = classifier("tiny", 4, regularizer=Regularizer.parse(regularizer)).train()
    steps = (optimizer or torch.optim.Adam)(net.parameters(), lr=rate(0))
    order, losses = ShardShuffle(dataset, seed=seed, drop_last=True), []
    for epoch in range(epochs):
        torch.manual_seed(stream(seed, 1 + epoch).random_raw())
        steps.param_groups[0]["lr"] = rate(epoch)
        order.set_epoch(epoch)
        sums = []
        for batch in torch.tensor(list(order)).split(4):
            loss = functional.cross_entropy(net(images[batch]), labels[batch])
            net.zero_grad()
            loss.backward()
            steps.step()
            sums.append(loss.item())
        losses.append(sum(sums) / len(sums))
    return losses, net.state_dict()


def momentum(parameters, lr):
    return torch.optim.SGD(parameters, lr, momentum=0.9, weight_decay=0.1)


def decayed(parameters, lr):
    return torch.optim.AdamW(parameters, lr, weight_decay=0.1)


@pytest.mark.parametrize(
    ("options", "written"),
    [
        pytest.param({}, {}, id="none"),
        pytest.param({"seed": 7}, {"seed": 7}, id="another seed"),
        pytest.param({"regularizer": "backdrop:coarse=0.5"}, {"regularizer": "backdrop:fine=0.3,coarse=0.5"}, id="backdrop"),
        pytest.param({"optimizer": "sgd", "weight_decay": 0.1}, {"optimizer": momentum}, id="sgd"),
        pytest.param({"optimizer": "adamw", "weight_decay": 0.1}, {"optimizer": decayed}, id="adamw"),
        pytest.param({"warmup": 1}, {"rate": lambda epoch: [0.005, 0.01][epoch]}, id="warmup"),
        pytest.param({"schedule": "cosine"}, {"rate": lambda epoch: [0.01, 0.005][epoch]}, id="cosine"),
    ],
)
def test_an_epoch_is_what_a_bare_loop_does(options, written, easy, fit, tmp_path):
    losses, net = bare(easy, **written)
    result = fit(easy, epochs=2, **options)
    assert [row["train_loss"] for row in result.history] == pytest.approx(losses, rel=1e-5)
    found = weights(tmp_path / "run")
    assert all(torch.allclose(found[key], net[key], rtol=1e-3, atol=1e-5) for key in net)


@pytest.mark.parametrize(
    "other", [{"seed": 1}, {"regularizer": "backdrop:fine=0.3,coarse=0.5"}, {"rate": lambda epoch: 0.0101}]
)
def test_loops_that_differ_a_little_are_told_apart(other, easy):
    """By the tolerances of the test before."""
    (losses, net), (others, another) = bare(easy), bare(easy, **other)
    assert losses != pytest.approx(others, rel=1e-5)
    assert not all(torch.allclose(net[key], another[key], rtol=1e-3, atol=1e-5) for key in net)


@pytest.mark.parametrize(
    ("options", "rates"),
    [
        pytest.param({"warmup": 3}, [0.25, 0.5, 0.75, 1, 1], id="warmup"),
        pytest.param({"schedule": "cosine"}, [(1 + math.cos(math.pi * e / 5)) / 2 for e in range(5)], id="cosine"),
        pytest.param(
            {"schedule": "cosine", "warmup": 1},
            [0.5, *((1 + math.cos(math.pi * e / 5)) / 2 for e in range(1, 5))],
            id="both",
        ),
    ],
)
def test_the_learning_rate_follows_its_schedule(options, rates, easy_folder, fit, metrics, tmp_path):
    fit(easy_folder, epochs=5, lr=0.02, train="train:4", **options)
    assert [float(row["lr"]) for row in metrics(tmp_path / "run")] == pytest.approx([0.02 * rate for rate in rates])
    (group,) = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["optimizer"]["param_groups"]
    assert group["lr"] == pytest.approx(0.02 * rates[-1])


def test_the_same_numbers_with_workers_and_from_disk(easy_folder, fit, metrics, tmp_path):
    results = [fit(easy_folder), fit(easy_folder, "disk", memory=0), fit(easy_folder, "workers", memory=0, workers=1)]
    assert metrics(tmp_path / "run") == metrics(tmp_path / "disk") == metrics(tmp_path / "workers")
    assert len({json.dumps(scores(result)) for result in results}) == 1


@pytest.mark.parametrize("amp", ["bf16", "fp16"])
def test_mixed_precision_trains_to_nearly_the_same(amp, easy_folder, fit):
    """Paths part as rounding differs, and steps whose scaled loss is too large are left out: the first epoch is compared."""
    wide, narrow = (fit(easy_folder, name, amp=name, train="train:12", test="test:4") for name in ("none", amp))
    losses = [[row[key] for row in result.history for key in ("train_loss", "val_loss")] for result in (wide, narrow)]
    assert all(map(math.isfinite, losses[1]))
    assert losses[0] != losses[1]
    assert losses[0][:2] == pytest.approx(losses[1][:2], rel=0.05)
    assert all(result.history[-1]["train_loss"] < result.history[0]["train_loss"] for result in (wide, narrow))


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None and shutil.which("clang++") is None, reason="needs a compiler of C++")
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of torch's own compiler
def test_compiled_to_rounding_the_same(easy_folder, fit):
    eager, compiled = fit(easy_folder, "eager"), fit(easy_folder, "compiled", compile=True)
    for one, other in zip(eager.history, compiled.history, strict=True):
        assert one["train_loss"] == pytest.approx(other["train_loss"], rel=1e-4)
        assert one["val_loss"] == pytest.approx(other["val_loss"], rel=1e-4)
    assert eager.last.confusion == compiled.last.confusion


@pytest.mark.parametrize("regularizer", ["none", "dropout", "backdrop", "dropblock"])
def test_torchs_own_random_numbers_are_left_alone_and_do_not_matter(regularizer, easy_folder, fit, metrics, tmp_path):
    for seed in (5, 6):
        torch.manual_seed(seed)
        before = torch.get_rng_state()
        fit(easy_folder, str(seed), regularizer=regularizer, epochs=1)
        assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(GptexError):
        fit(easy_folder, "5", regularizer=regularizer)
    assert torch.equal(torch.get_rng_state(), before)
    assert metrics(tmp_path / "5") == metrics(tmp_path / "6")


# -- nets of one's own


def own_net(axes, layer=None):
    kind, pool = {1: (torch.nn.Conv1d, torch.nn.AdaptiveMaxPool1d), 2: (torch.nn.Conv2d, torch.nn.AdaptiveAvgPool2d)}[axes]
    layers = [
        kind(1, 8, 5, 2),
        torch.nn.ReLU(),
        layer or torch.nn.Identity(),
        pool(1),
        torch.nn.Flatten(),
        torch.nn.Linear(8, 2),
    ]
    return torch.nn.Sequential(*layers)


@pytest.mark.parametrize("axes", [1, 2])
def test_a_net_of_ones_own_is_trained_in_place_and_evaluated(axes, fit, tmp_path):
    torch.manual_seed(0)
    recipe = two_classes([1, 6], train=8, test=20).replace(shape=[64] * axes)
    net, fresh = own_net(axes, Backdrop(0.2) if axes == 2 else None), own_net(axes)
    result = fit(recipe, model="custom", net=net, epochs=12)
    assert result.last.accuracy > 0.8  # of 40: guessing comes to this less than once in 10**4 times
    assert same_weights(net.state_dict(), weights(tmp_path / "run"))
    assert evaluate(tmp_path / "run", recipe, net=fresh, device="cpu") == result.last
    assert result.parameters == sum(parameter.numel() for parameter in fresh.parameters())
    with pytest.raises(GptexError, match="net="):
        evaluate(tmp_path / "run", recipe)


def test_of_the_regularizers_a_net_of_ones_own_can_have_crops_alone(easy_folder, fit, tmp_path):
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.AdaptiveAvgPool2d(8), torch.nn.Flatten(), torch.nn.Linear(64, 4))
    whole, cropped = copy.deepcopy(net), copy.deepcopy(net)
    shapes = set()
    cropped.register_forward_pre_hook(lambda module, given: shapes.add((module.training, given[0].shape[2:])))
    fit(easy_folder, "whole", net=whole, epochs=1)
    fit(easy_folder, "cropped", net=cropped, epochs=1, regularizer="crop:share=0.75")
    assert shapes == {(True, (48, 48)), (False, (64, 64))}
    assert not same_weights(whole.state_dict(), cropped.state_dict())
    with pytest.raises(GptexError, match="only crop"):
        fit(easy_folder, "backdrop", net=net, regularizer="backdrop")
