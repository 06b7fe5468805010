"""The oracle: the class that a dense Gaussian likelihood finds most likely, and shares with their intervals."""

from __future__ import annotations

import itertools

import h5py
import numpy as np
import pytest
from scipy import stats

from gptex import Component, GptexError, Recipe, generate
from gptex.trust import noise_for, oracle
from gptex.trust.classification import wilson
from gptex.trust.oracle import _Classifier


def recipe(**changes):
    fine = Component(name="fine", length_scales=[0.8, 1.1])
    coarse = Component(name="coarse", kernel="matern", nu=1.5, length_scales=[1.2, 1.6], weight=1.3)
    given = {"name": "small", "shape": [8, 7], "components": [fine, coarse], "noise_std": 0.3, **changes}
    return Recipe(**given)


def dense_covariance(of: Recipe, label: int):
    """Covariance matrix of the pixels of a periodic texture, image by image; kernels written out."""
    places = np.array(list(itertools.product(*map(range, of.shape))), float)
    lags = places[:, None] - places[None]
    total = of.noise_std**2 * np.eye(len(places))
    fine, coarse = of.length_scales(label)
    for shift in itertools.product(range(-6, 7), repeat=2):
        r = np.linalg.norm(lags + np.array(shift) * of.shape, axis=-1)
        total += of.components[0].weight ** 2 * np.exp(-((r / fine) ** 2) / 2)
        z = np.sqrt(3) * r / coarse
        total += of.components[1].weight ** 2 * (1 + z) * np.exp(-z)
    return total


def test_the_class_is_the_one_of_the_largest_dense_likelihood():
    small = recipe()
    classify = _Classifier(small)
    densities = [stats.multivariate_normal(cov=dense_covariance(small, label)) for label in range(4)]
    found, expected = [], []
    for index in range(80):
        image = small.texture("any", index).image
        found.append(classify(image))
        expected.append(int(np.argmax([density.logpdf(image.astype(float).ravel()) for density in densities])))
    assert found == expected
    assert len(set(found)) == 4


def test_its_accuracy_is_that_of_the_dense_likelihood():
    small = recipe()
    densities = [stats.multivariate_normal(cov=dense_covariance(small, label)) for label in range(4)]
    right = 0
    for index in range(200):
        texture = small.texture("reference", index)
        pixels = texture.image.astype(float).ravel()
        right += int(np.argmax([density.logpdf(pixels) for density in densities])) == texture.label
    found = oracle(small, textures=200, progress=False)
    assert (found.kind, found.textures, found.accuracy) == ("Bayes-optimal", 200, right / 200)
    assert sum(map(sum, found.confusion)) == 200
    assert found.accuracy <= min(found.components.values())


@pytest.mark.parametrize(
    "changes",
    [
        {"noise_std": 0},
        {"standardize": True},
        {"components": [Component(name="only", length_scales=[1, 2], boundary="open")], "shape": [12, 12]},
    ],
    ids=["no noise", "standardized", "open"],
)
def test_what_is_not_exact_is_called_whittles(changes):
    found = oracle(recipe(**changes), textures=40, progress=False)
    assert found.kind == "Whittle"
    assert "Whittle" in str(found)
    assert 0.25 < found.accuracy <= 1


def test_a_dataset_is_classified_as_its_recipe_draws_it(tmp_path):
    small = recipe(splits={"train": 5, "test": 2})
    generate(small, tmp_path / "small", workers=1, progress=False)
    found = oracle(tmp_path / "small", progress=False)
    classify = _Classifier(small)
    textures = [small.texture(split, index) for split in ("train", "test") for index in range(small.count(split))]
    assert found.textures == len(textures) == 28
    assert found.accuracy == np.mean([classify(texture.image) == texture.label for texture in textures])


@pytest.mark.parametrize(("hits", "count"), [(0, 10), (10, 10), (7, 9), (50, 400)])
def test_the_interval_is_wilsons(hits, count):
    expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert wilson(hits, count) == pytest.approx((expected.low, expected.high))


def test_noise_for_an_accuracy_gives_it_and_more_noise_gives_less():
    one = recipe(components=[Component(name="only", length_scales=[0.8, 1.2])], shape=[16, 16])
    noise, found = noise_for(one, 0.8, textures=300, progress=False)
    assert found.accuracy == pytest.approx(0.8, abs=0.03)
    assert oracle(one.replace(noise_std=noise), textures=300, progress=False).accuracy == found.accuracy
    assert oracle(one.replace(noise_std=4 * noise), textures=300, progress=False).accuracy < found.accuracy


def test_an_accuracy_that_no_noise_gives_is_refused():
    with pytest.raises(GptexError, match=r"between 0\.25"):
        noise_for(recipe(), 0.2, progress=False)
    with pytest.raises(GptexError, match="even next to without noise"):
        noise_for(recipe(), 0.999, textures=50, progress=False)


def test_what_cannot_be_classified_is_refused(tmp_path):
    with pytest.raises(GptexError, match="at least one"):
        oracle(recipe(), textures=0)
    with pytest.raises(GptexError, match="no folder, no file and no preset"):
        oracle(tmp_path / "nothing")


def test_where_there_is_nothing_to_tell_apart_no_noise_is_looked_for():
    one = Component(name="only", length_scales=[2])
    with pytest.raises(GptexError, match="one class"):
        noise_for(recipe(components=[one]), 0.9, progress=False)
    nothing = Component(name="nothing", length_scales=[2, 3], weight=0)
    with pytest.raises(GptexError, match="no fields of weight"):
        noise_for(recipe(components=[nothing]), 0.9, progress=False)


def test_textures_that_are_not_finite_are_not_classified(tmp_path):
    generate(recipe(splits={"train": 1}), tmp_path / "small", workers=1, progress=False)
    with h5py.File(tmp_path / "small/train/00000.h5", "r+") as file:
        file["images"][0, 0, 0] = np.nan
    with pytest.raises(GptexError, match="not finite"):
        oracle(tmp_path / "small", progress=False)
