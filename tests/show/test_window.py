"""The interactive view: what its keys do, and what is said where there is no display."""

import gc
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.backend_bases import KeyEvent
from matplotlib.figure import Figure

import gptex
from gptex import Component, GptexError, Recipe
from gptex.published import combine
from gptex.show import view
from gptex.show.textures import Textures
from gptex.show.window import Stepper

FINE = Component(name="fine", length_scales=[1.5, 2])
COARSE = Component(name="coarse", length_scales=[6, 9])
RECIPE = Recipe(name="four $", shape=[32, 32], components=[FINE, COARSE], splits={"train": 3})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("datasets") / "four of them"
    gptex.generate(RECIPE, path, workers=1, progress=False)
    return path


@pytest.fixture(scope="module")
def combined(tmp_path_factory):
    """Textures from elsewhere, whose labels only the shards know."""
    here = tmp_path_factory.mktemp("combined")
    samples = Recipe(name="samples", shape=[32, 32], components=[Component(name="only", length_scales=[2, 6, 9])])
    gptex.generate(samples.replace(splits={"train": 6}), here / "samples", workers=1, progress=False)
    combine(here / "samples", here / "out", scales=[[2], [6, 9]], progress=False)
    return here / "out"


def press(stepper, *keys):
    for key in keys:
        stepper.press(SimpleNamespace(key=key))
    return stepper.index


def shown(stepper):
    return np.asarray(stepper.figure.axes[0].images[0].get_array())


@pytest.mark.parametrize("stored", [True, False])
def test_keys_step_through_the_textures(stored, folder):
    stepper = Stepper(Figure(), Textures(folder if stored else RECIPE))
    assert press(stepper, "left") == 0  # there is none before the first
    assert press(stepper, "right", "right") == 2
    assert press(stepper, " ") == 3
    assert press(stepper, "down") == 7
    assert press(stepper, "up", "up") == 3
    np.testing.assert_array_equal(shown(stepper), RECIPE.texture("train", 3).image)
    assert "class 3: 2-9" in stepper.figure.get_suptitle()
    assert press(stepper, "home") == 0
    assert press(stepper, "end") == (11 if stored else 0)  # a recipe has no end
    assert press(stepper, "right") == (11 if stored else 1)
    assert press(stepper, "x", "q", None) == stepper.index


def test_a_figure_holds_its_stepper(folder):
    figure = Figure()
    Stepper(figure, Textures(folder))
    gc.collect()
    figure.canvas.callbacks.process("key_press_event", KeyEvent("key_press_event", figure.canvas, "right"))
    assert "train 1 of 12" in figure.get_suptitle()


def test_textures_of_the_same_class_are_found_in_any_order(combined):
    textures = Textures(combined)
    labels = [textures[n].label for n in range(textures.count)]
    stepper = Stepper(Figure(), textures)
    for index in [n for n, label in enumerate(labels) if label == labels[0]][1:]:
        assert press(stepper, "down") == index
    assert press(stepper, "down") == stepper.index
    assert press(stepper, *["up"] * len(labels)) == 0


def test_zoom_enlarges_and_goes_back(folder):
    stepper = Stepper(Figure(), Textures(folder))
    press(stepper, "+", "=")
    assert shown(stepper).shape == (8, 8)
    assert "4 times enlarged" in stepper.figure.get_suptitle()
    press(stepper, "-", "-", "-")
    assert shown(stepper).shape == (32, 32)


def test_the_scale_of_grey_stays(folder):
    stepper = Stepper(Figure(), Textures(folder))
    limits = stepper.figure.axes[0].images[0].get_clim()
    press(stepper, "end")
    assert stepper.figure.axes[0].images[0].get_clim() == limits


def test_other_shapes_are_shown():
    line, volume = (RECIPE.replace(shape=shape, components=[FINE]) for shape in ([50], [6, 8, 10]))
    split = next(iter(RECIPE.splits))
    drawn = Stepper(Figure(), Textures(line)).figure.axes[0].lines[0].get_ydata()
    np.testing.assert_array_equal(drawn, line.texture(split, 0).image)
    drawn = Stepper(Figure(), Textures(volume)).figure.axes[0].images[0].get_array()
    np.testing.assert_array_equal(drawn, volume.texture(split, 0).image[3])


def test_what_is_not_there_is_said_before_a_window_opens(folder, tmp_path):
    for source, options in ((folder, {"index": 12}), (folder, {"split": "val"}), (tmp_path, {})):
        with pytest.raises(GptexError):
            view(source, **options)


HEADLESS = """
import sys
import gptex, gptex.show
try:
    gptex.show.view(sys.argv[1])
except gptex.GptexError as error:
    print(error)
"""


@pytest.mark.parametrize("backend", ["agg", "TkAgg", ""])
def test_without_a_display_it_says_what_to_do(backend, folder):
    environment = {"PATH": "", "HOME": str(folder.parent), **({"MPLBACKEND": backend} if backend else {})}
    done = subprocess.run(
        [sys.executable, "-c", HEADLESS, folder], capture_output=True, text=True, check=False, env=environment, timeout=60
    )
    if sys.platform != "linux":
        pytest.skip("a display is always there")
    assert f"gptex preview '{folder}' -o preview.png" in done.stdout, done.stderr
    assert len(done.stdout.splitlines()) == 1
