"""Checkpoints and configs that are damaged, or of another run: refused in a line, and nothing is lost."""

import pytest
import torch

from gptex import GptexError
from gptex.learn import evaluate


def test_best_weights_of_another_epoch_or_none_are_not_passed_off_as_the_best(easy_folder, fit, tmp_path):
    run = tmp_path / "run"
    history = fit(easy_folder, epochs=6, lr=0.02).history
    best = max(history, key=lambda row: (row["val_accuracy"], -row["val_loss"]))["epoch"]
    if best == 6:
        pytest.skip("the last epoch is the best one: nothing to mix up")
    result = (run / "result.json").read_bytes()
    kept = torch.load(run / "best.pt", weights_only=True)
    torch.save({**kept, "epoch": best + 1}, run / "best.pt")
    with pytest.raises(GptexError, match="not of the best epoch"):
        fit(easy_folder, epochs=6, lr=0.02, resume=True)
    (run / "best.pt").unlink()
    with pytest.raises(GptexError, match="there is no"):
        fit(easy_folder, epochs=9, lr=0.02, resume=True)
    assert (run / "result.json").read_bytes() == result


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
@pytest.mark.parametrize("other", [{"seed": 1}, {"train": "train:8"}, {"lr": 0.02}], ids=["seed", "textures", "rate"])
def test_a_checkpoint_of_another_run_is_refused_though_it_would_fit(other, name, easy_folder, fit, tmp_path):
    fit(easy_folder, tmp_path / "other", epochs=2, **other)
    fit(easy_folder, epochs=2)
    foreign = (tmp_path / "other" / name).read_bytes()
    (tmp_path / "run" / name).write_bytes(foreign)
    if name == "last.pt":  # best.pt is written anew if the last epoch is the best one
        with pytest.raises(GptexError, match=f"{name} is of another run"):
            fit(easy_folder, epochs=3, resume=True)
    with pytest.raises(GptexError, match=f"{name} is of another run"):
        evaluate(tmp_path / "run", easy_folder, "val", checkpoint=name.removesuffix(".pt"), device="cpu", progress=False)
    assert (tmp_path / "run" / name).read_bytes() == foreign


def flipped_in_directory(whole):
    """The bytes of a zip file, in whose directory the first letter of a name is none."""
    place = whole.rfind(b"PK\x01\x02") + 46
    return whole[:place] + b"\xff" + whole[place + 1 :]


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"model": {}}, id="no weights"),
        pytest.param({"optimizer": {}}, id="no optimizer"),
        pytest.param({"optimizer": {"state": {}, "param_groups": []}}, id="optimizer of nothing"),
        pytest.param({"history": [{"epoch": 1}, {"epoch": 2, "val_loss": 1.0}]}, id="history of holes"),
        pytest.param({"history": [{"epoch": 1, "val_loss": "a"}, {"epoch": 2, "val_loss": "b"}]}, id="history of letters"),
        pytest.param({"config": "x"}, id="config that is text"),
        pytest.param({"history": []}, id="no history"),
        pytest.param({"history": "x"}, id="history that is text"),
        pytest.param({"epoch": "y"}, id="epoch that is text"),
    ],
)
def test_a_checkpoint_that_does_not_fit_is_one_line(change, easy_folder, fit, tmp_path):
    fit(easy_folder, epochs=2)
    path = tmp_path / "run" / "last.pt"
    torch.save({**torch.load(path, weights_only=True), **change}, path)
    with pytest.raises(GptexError, match="checkpoint") as refusal:
        fit(easy_folder, epochs=3, resume=True)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        pytest.param("last.pt", lambda whole: whole[: len(whole) // 2], id="half a checkpoint"),
        pytest.param("last.pt", lambda whole: whole[:-100], id="a checkpoint without its end"),
        pytest.param("last.pt", flipped_in_directory, id="a checkpoint of whose directory a byte is wrong"),
        pytest.param("config.json", lambda whole: whole[:-20], id="a config without its end"),
        pytest.param("config.json", lambda _: b"[]", id="a list for a config"),
        pytest.param("config.json", lambda _: b"\xff", id="bytes for a config"),
        pytest.param("config.json", lambda whole: whole.replace(b"run 1", b"run 9"), id="a config of another format"),
        pytest.param("config.json", lambda whole: whole.replace(b'"classes"', b'"klasses"'), id="a config without classes"),
        pytest.param("config.json", lambda whole: whole.replace(b'"adam"', b'"eve"'), id="a config out of range"),
    ],
)
def test_damage_is_one_clear_line_and_nothing_more_is_lost(name, damage, easy_folder, fit, tmp_path):
    fit(easy_folder, epochs=1, train="train:4")
    path = tmp_path / "run" / name
    damaged = damage(path.read_bytes())
    assert damaged != path.read_bytes()
    path.write_bytes(damaged)
    with pytest.raises(GptexError) as caught:
        fit(easy_folder, epochs=1, train="train:4", resume=True)
    assert "\n" not in str(caught.value)
    assert path.read_bytes() == damaged
    assert {"config.json", "metrics.csv", "last.pt", "best.pt"} <= {path.name for path in (tmp_path / "run").iterdir()}
