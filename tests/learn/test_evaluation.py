"""The files of a run hold what a test can compute by hand from its weights, and `evaluate` says the same of them."""

import json
import math
from importlib.metadata import version

import h5py
import matplotlib.image
import pytest
import torch
from sklearn.metrics import accuracy_score, confusion_matrix, log_loss
from torch.nn import functional

from gptex import GptexError
from gptex.learn import evaluate, train
from gptex.learn.models import classifier


@pytest.fixture(scope="module")
def run(easy_folder, quick, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(easy_folder, folder, **{**quick, "plots": True, "reference": True, "epochs": 6})
    return folder


def textures(folder, split):
    """Images, labels and length scales by h5py alone."""
    (path,) = (folder / split).glob("*.h5")
    with h5py.File(path) as file:
        images, labels, scales = (torch.from_numpy(file[name][()]) for name in ("images", "labels", "length_scales"))
    return images[:, None], labels.long(), scales


def weights(run, checkpoint="last.pt"):
    return torch.load(run / checkpoint, weights_only=True)["model"]


def logits(run, checkpoint, images):
    net = classifier("tiny", 4).eval()
    net.load_state_dict(weights(run, checkpoint))
    with torch.no_grad():
        return net(images)


def test_the_metrics_have_a_row_an_epoch_and_the_last_is_that_of_the_last_weights(run, easy_folder, metrics):
    rows, (images, labels, _) = metrics(run), textures(easy_folder, "val")
    each = ["loss", "accuracy", "accuracy_fine", "accuracy_coarse"]
    assert list(rows[0]) == ["epoch", "lr", *(f"{part}_{name}" for part in ("train", "val") for name in each)]
    assert [int(row["epoch"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    found = logits(run, "last.pt", images)
    assert float(rows[-1]["val_loss"]) == pytest.approx(functional.cross_entropy(found, labels).item(), rel=1e-5)
    assert float(rows[-1]["val_accuracy"]) == (found.argmax(1) == labels).double().mean()


def test_the_best_weights_are_those_of_the_best_row(run, easy_folder, metrics):
    best = torch.load(run / "best.pt", weights_only=True)
    rows = metrics(run)
    accuracies = [float(row["val_accuracy"]) for row in rows]
    candidates = [row for row in rows if float(row["val_accuracy"]) == max(accuracies)]
    row = min(candidates, key=lambda row: float(row["val_loss"]))
    assert best["epoch"] == int(row["epoch"]) == json.loads((run / "result.json").read_bytes())["best_epoch"]
    images, labels, _ = textures(easy_folder, "val")
    loss = functional.cross_entropy(logits(run, "best.pt", images), labels).item()
    assert float(row["val_loss"]) == pytest.approx(loss, rel=1e-5)


@pytest.mark.parametrize("checkpoint", ["last", "best"])
def test_the_test_is_what_scikit_learn_makes_of_the_nets_answers(checkpoint, run, easy_folder):
    images, labels, scales = textures(easy_folder, "test")
    found = logits(run, f"{checkpoint}.pt", images)
    named = found.argmax(1)
    result = json.loads((run / "result.json").read_bytes())[checkpoint]
    assert result["textures"] == 20
    assert result["accuracy"] == accuracy_score(labels, named)
    assert result["confusion"] == confusion_matrix(labels, named, labels=range(4)).tolist()
    assert result["loss"] == pytest.approx(log_loss(labels, found.double().softmax(1).numpy(), labels=range(4)), rel=1e-5)
    scales_of = {int(label): scale for label, scale in zip(labels, scales, strict=True)}
    right = torch.stack([scales_of[int(label)] for label in named]) == scales
    assert list(result["components"].values()) == pytest.approx(right.double().mean(0).tolist())
    for end in result["interval"]:  # where Wilson's test just does not refuse
        error = 1.959964 * math.sqrt(end * (1 - end) / 20)
        assert abs(end - result["accuracy"]) == pytest.approx(error, rel=1e-5)
    again = evaluate(run, easy_folder, checkpoint=checkpoint, batch_size=7, device="cpu")
    assert again.loss == pytest.approx(result["loss"], rel=1e-5)
    assert [list(row) for row in again.confusion] == result["confusion"]


def test_the_config_and_the_result_say_what_was_done(run, easy_folder):
    config, result = (json.loads((run / name).read_bytes()) for name in ("config.json", "result.json"))
    assert config["versions"] == {name: version(name) for name in ("gptex", "torch")}
    settings = {"model": "tiny", "epochs": 6, "batch_size": 4, "lr": 0.01, "optimizer": "adam", "seed": 0, "amp": "none"}
    assert settings.items() <= config["config"].items()
    assert config["data"]["shape"] == [64, 64]
    assert config["data"]["class_scales"] == [[1, 6], [3, 6], [1, 14], [3, 14]]
    assert result["epochs"] == 6
    assert result["parameters"] == sum(tensor.numel() for tensor in weights(run).values())
    confusion = torch.tensor(result["reference"]["confusion"])
    assert confusion.sum() == 72  # all there are in the folder
    assert result["reference"]["accuracy"] == confusion.trace() / 72 > 0.9
    assert result["no_reference"] == ""


@pytest.mark.parametrize("name", ["curves.png", "confusion.png"])
def test_the_pictures_are_pictures(name, run):
    image = matplotlib.image.imread(run / name)
    assert (run / name).read_bytes().startswith(b"\x89PNG\r\n\x1a\n")
    assert min(image.shape[:2]) > 300
    assert image[..., :3].std() > 0.05


@pytest.mark.parametrize("test", ["0.25", "val:6", None], ids=["share", "count", "split"])
def test_evaluate_takes_what_the_run_was_tested_on(test, easy_folder, fit, tmp_path):
    found = fit(easy_folder, epochs=1, train="train:16", val="0.25", test=test).last
    assert found.textures == {"0.25": 4, "val:6": 6, None: 20}[test]
    assert evaluate(tmp_path / "run", easy_folder, device="cpu", progress=False) == found


def test_evaluate_takes_other_parts_and_sizes_and_refuses_other_classes(run, easy, easy_folder):
    images, labels, _ = textures(easy_folder, "val")
    hits = (logits(run, "last.pt", images[:5]).argmax(1) == labels[:5]).double().mean()
    assert evaluate(run, easy_folder, "val:5", device="cpu").accuracy == hits
    assert evaluate(run, easy.replace(shape=[128, 96]), "val:8", device="cpu").textures == 8
    for source, part, says in [
        (easy_folder, "0.5", "has no split '0.5'"),
        (easy.replace(components=[*reversed(easy.components)]), "test", "was trained on the classes"),
        (easy_folder, "other", "'other'"),
        (easy.replace(shape=[32, 64]), "test", "64 pixels a side"),
        (easy, "test:0", "no textures"),
    ]:
        with pytest.raises(GptexError, match=says):
            evaluate(run, source, part)
    with pytest.raises(GptexError, match=r"config\.json"):
        evaluate(run.parent, easy)
