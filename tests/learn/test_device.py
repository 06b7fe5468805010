"""DeviceTextures: the textures of the processor to float32 rounding, on any device. Here the device is the processor."""

import pickle

import numpy as np
import pytest
import torch

import gptex
from gptex import Component, DeviceTextures, GptexError, Recipe, RecipeError


def component(**keys):
    return Component(**{"name": "only", "length_scales": [2, 3], **keys})


RECIPES = {
    "periodic": {"components": [component()]},
    "all modes": {"components": [component(kernel="exponential", length_scales=[1])]},
    "open, few modes": {"components": [component(boundary="open", length_scales=[20, 30])]},
    "open, many modes": {"components": [component(boundary="open", kernel="matern", length_scales=[1.5, 2])]},
    "stretched": {"components": [component(aspect=2, angle=30, boundary="open")]},
    "1-D": {"shape": [301], "components": [component(), component(name="wide", length_scales=[60], boundary="open")]},
    "1-D, open, many modes": {"shape": [301], "components": [component(boundary="open", kernel="exponential")]},
    "1-D, even": {"shape": [64], "components": [component(kernel="exponential", length_scales=[1])]},
    "3-D": {"shape": [20, 24, 18], "components": [component(length_scales=[1, 2])]},
    "3-D, open": {"shape": [20, 24, 17], "components": [component(boundary="open", length_scales=[1, 9])]},
    "one column": {"shape": [33, 1], "components": [component(boundary="open")]},
    "many": {"components": [component(), component(name="far", boundary="open", length_scales=[15, 25], weight=-2)]},
}


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64"])
@pytest.mark.parametrize("finish", [{}, {"standardize": True, "noise_std": 0.3}])
@pytest.mark.parametrize("name", RECIPES)
def test_its_textures_are_those_of_the_processor(name, finish, dtype):
    recipe = Recipe(**{"name": name, "shape": [64, 51], **RECIPES[name]}, seed=5, dtype=dtype, **finish)
    indices = [0, 3, 2, 7, 10**12]
    images, labels, length_scales = DeviceTextures(recipe, "val", device="cpu", length=4).batch(indices)
    expected = [recipe.texture("val", index) for index in indices]
    assert labels.tolist() == [texture.label for texture in expected]
    assert labels.dtype == torch.int64
    assert length_scales.tolist() == [list(texture.length_scales) for texture in expected]
    assert images.dtype == (torch.float64 if dtype == "float64" else torch.float32)
    assert images.shape == (5, 1, *recipe.shape)
    scale = max(float(abs(texture.image.astype("f8")).max()) for texture in expected)
    tolerance = {"float32": 2e-6, "float64": 1e-14, "float16": 1e-3}[dtype] * scale
    np.testing.assert_allclose(images[:, 0].numpy(), np.stack([texture.image for texture in expected]), rtol=0, atol=tolerance)


def test_the_recipes_that_come_with_gptex_are_drawn():
    for name in gptex.presets():
        recipe = gptex.preset(name)
        image = DeviceTextures(name, device="cpu", length=1).batch([3]).images[0, 0].numpy()
        np.testing.assert_allclose(image, recipe.texture("train", 3).image, rtol=0, atol=3e-5)


def test_batches_cover_the_split_in_order(recipe):
    textures = DeviceTextures(recipe, "val", device="cpu", batch_size=3)
    batches = list(textures)
    assert len(textures) == len(batches) == 3
    assert [len(batch.images) for batch in batches] == [3, 3, 2]
    assert torch.cat([batch.labels for batch in batches]).tolist() == [0, 1, 2, 3] * 2
    assert torch.equal(batches[1].images, textures.batch([3, 4, 5]).images)
    assert len(DeviceTextures(recipe, length=10, device="cpu", batch_size=4)) == 3


def test_a_batch_may_be_empty(recipe):
    for more in ({}, {"noise_std": 0.1, "dtype": "float16"}):
        batch = DeviceTextures(recipe.replace(**more), device="cpu").batch([])
        assert [tuple(array.shape) for array in batch] == [(0, 1, 24, 17), (0,), (0, 2)]
        assert batch.labels.dtype == torch.int64


def test_a_pickle_draws_the_same(recipe):
    textures = DeviceTextures(recipe, device="cpu")
    before = textures.batch([1, 2]).images
    assert torch.equal(pickle.loads(pickle.dumps(textures)).batch([1, 2]).images, before)


def test_what_cannot_be_is_refused(recipe):
    with pytest.raises(GptexError, match="does not count split 'test'"):
        DeviceTextures(recipe, "test", device="cpu")
    with pytest.raises(GptexError, match="at least one texture, not 0"):
        DeviceTextures(recipe, device="cpu", batch_size=0)
    textures = DeviceTextures(recipe, device="cpu")
    with pytest.raises(IndexError):
        textures.batch([2**63])
    with pytest.raises(IndexError, match="-1"):
        textures.batch([-1])
    with pytest.raises(TypeError):
        textures.batch([0.5])
    with pytest.raises(RecipeError, match="no folder, no file and no preset"):
        DeviceTextures("unheard", device="cpu")


def test_a_device_that_is_not_there_is_an_error_that_says_what_to_do(recipe):
    for device in ["unheard"] if torch.cuda.is_available() else ["unheard", "cuda"]:
        with pytest.raises(GptexError, match=f"cannot use device '{device}' .*device='cpu' draws on the processor"):
            DeviceTextures(recipe, device=device)


def test_a_constant_field_cannot_be_standardized_as_on_the_processor():
    spectrum = [[0, 1], [1e-9, 1], [2e-9, 0]]
    flat = component(kernel="spectrum", spectrum=spectrum, length_scales=[1])
    recipe = Recipe(name="flat", shape=[16, 16], components=[flat], standardize=True)
    with pytest.raises(RecipeError, match="constant over the window"):
        recipe.texture("train", 0)
    with pytest.raises(RecipeError, match="constant over the window"):
        DeviceTextures(recipe, device="cpu", length=1).batch([0])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_draws_the_same(recipe):
    images = DeviceTextures(recipe, device="cuda").batch(range(8)).images.cpu().numpy()[:, 0]
    expected = np.stack([recipe.texture("train", index).image for index in range(8)])
    np.testing.assert_allclose(images, expected, rtol=0, atol=1e-5 * abs(expected).max())
