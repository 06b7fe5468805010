"""The config of a run: what it refuses, and its learning rate beside torch's own schedules."""

import json
import math

import pytest
import torch
from torch.optim.lr_scheduler import ChainedScheduler, ConstantLR, CosineAnnealingLR, LinearLR

from gptex import GptexError
from gptex.learn.config import Config
from gptex.learn.regularizers import Regularizer


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"model": "large"}, "model"),
        ({"channels": 0}, "channels"),
        ({"epochs": 0}, "epochs"),
        ({"epochs": 2.5}, "epochs"),
        ({"batch_size": 0}, "batch_size"),
        ({"optimizer": "adagrad"}, "optimizer"),
        ({"lr": 0}, "lr"),
        ({"lr": math.nan}, "lr"),
        ({"lr": math.inf}, "lr"),
        ({"schedule": "linear"}, "schedule"),
        ({"warmup": -1}, "warmup"),
        ({"weight_decay": -0.1}, "weight_decay"),
        ({"weight_decay": math.inf}, "weight_decay"),
        ({"seed": -1}, "seed"),
        ({"seed": 2**128}, "seed"),
        ({"amp": "fp8"}, "amp"),
        ({"regularizer": "backdrp"}, "did you mean 'backdrop'"),
        ({"regularizer": "crop:share=2"}, "share"),
        ({"train": "0.2"}, "train is a split such as train or train:100, not '0.2'"),
        ({"train": ".5"}, "train is a split"),
        ({"train": ""}, "split"),
        ({"train": "train:"}, "'train:' is no split"),
        ({"train": "train:-1"}, "'train:-1' is no split"),
        ({"train": "train:1.5"}, "'train:1.5' is no split"),
        ({"val": "no/name"}, "a split's name"),
        ({"val": "1.2"}, "share between 0 and 1"),
        ({"val": "0.0"}, "share between 0 and 1"),
        ({"test": "-0.2"}, "share between 0 and 1"),
        ({"test": "test:1:2"}, "no split"),
        ({"model": "custom", "regularizer": "dropout"}, "only crop"),
        ({"model": "custom", "channels": 3}, "channels"),
    ],
    ids=lambda value: json.dumps(value, default=str)[:60] if isinstance(value, dict) else None,
)
def test_what_cannot_be_is_refused(options, says):
    with pytest.raises(GptexError, match=says):
        Config(**options)


@pytest.mark.parametrize("text", ["train", "train:100", "split_2:0"])
def test_parts_are_kept_as_they_are_written(text):
    assert Config(train=text, val=text, test="0.25").model_dump(include={"train", "val", "test"}) == {
        "train": text,
        "val": text,
        "test": "0.25",
    }


def test_a_regularizer_may_be_its_text_and_a_config_is_the_same_after_json():
    config = Config(regularizer="backdrop:coarse=0.5", seed=2**128 - 1, val="0.2", model="tiny")
    assert config.regularizer == Regularizer(method="backdrop", parameters={"fine": 0.3, "coarse": 0.5})
    assert Config(**json.loads(json.dumps(config.model_dump(mode="json")))) == config
    assert config.replace(seed=1).regularizer == config.regularizer
    assert Config(model="custom", regularizer="crop:share=0.5").regularizer.method == "crop"


def torchs(schedule, lr, warmup, epochs):
    """The rates of torch's schedulers, multiplied where there are two."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr)
    parts = [LinearLR(optimizer, 1 / (warmup + 1), 1.0, warmup) if warmup else ConstantLR(optimizer, 1.0, 1)]
    if schedule == "cosine":
        parts.append(CosineAnnealingLR(optimizer, epochs))
    scheduler, rates = ChainedScheduler(parts, optimizer), []
    for _ in range(epochs):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    return rates


@pytest.mark.parametrize("warmup", [0, 1, 4, 30])
@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_the_rate_is_that_of_torchs_schedules(schedule, warmup):
    config = Config(epochs=20, lr=0.03, schedule=schedule, warmup=warmup)
    rates = [config.rate(epoch) for epoch in range(20)]
    assert rates == pytest.approx(torchs(schedule, 0.03, warmup, 20), rel=1e-9)
    assert min(rates) > 0
    assert rates != pytest.approx(torchs(schedule, 0.03, warmup + 1, 20), rel=1e-3)


def test_cosine_would_reach_0_after_the_last_epoch():
    assert Config(epochs=7, schedule="cosine").rate(7) == 0
