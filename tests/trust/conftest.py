"""Datasets drawn in memory, and their certificates."""

from __future__ import annotations

from concurrent.futures import Executor, Future

import pytest

from gptex import Component, Recipe
from gptex.store.progress import progress
from gptex.trust.examine import Examination, Place


class Here(Executor):
    """Runs everything at once, where it is asked for."""

    def submit(self, function, /, *args, **kwargs):
        done = Future()
        done.set_result(function(*args, **kwargs))
        return done


def examined(recipe, drawn=None, split="train", false_alarm=1e-3, change=None):
    """The certificate of `recipe` for the textures of the recipe `drawn` with the same labels, changed if told so."""
    drawn = drawn or recipe
    with progress("certify", 1, False) as bar:
        examination = Examination(recipe, Here(), bar)
        for label in range(recipe.n_classes):
            places = [Place(split, label + n * recipe.n_classes) for n in range(recipe.splits[split])]

            def read(place):
                image = drawn.texture(place.split, place.number).image
                return change(image) if change else image

            examination.add(label, places, read)
    return examination.certificate(recipe.name, false_alarm)


@pytest.fixture
def examine():
    """Function from a recipe, and perhaps another that its textures are drawn from, to a certificate; no files."""
    return examined


@pytest.fixture
def component():
    """Makes a component, periodic unless told otherwise."""
    return lambda *scales, name="a", **more: Component(name=name, length_scales=list(scales), **more)


@pytest.fixture
def recipe():
    """Makes a recipe with the split train."""

    def make(shape, *components, train=5, **more):
        return Recipe(name="small", shape=list(shape), components=list(components), splits={"train": train}, **more)

    return make
