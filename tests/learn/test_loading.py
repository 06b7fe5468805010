"""A DataLoader gives every item as it is stored, with any number of workers, however they are started, epoch after epoch."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from gptex import DatasetError, RecipeDataset, ShardShuffle, TextureDataset, generate

WAYS = [
    ("fork", 1, False),
    ("fork", 2, True),
    ("fork", 4, False),
    pytest.param("spawn", 2, True, marks=pytest.mark.slow),
    pytest.param("forkserver", 2, False, marks=pytest.mark.slow),
]
quiet = pytest.mark.filterwarnings(
    "ignore:This DataLoader will create:UserWarning",  # more workers than cores: here on purpose
    "ignore:This process .* is multi-threaded:DeprecationWarning",  # forks, from Python 3.12 on
)


def assert_epochs(loader, arrays):
    for _ in range(2):
        images, targets = zip(*loader, strict=True)
        np.testing.assert_array_equal(torch.cat(images)[:, 0].numpy(), arrays[0])
        np.testing.assert_array_equal(torch.cat([target["label"] for target in targets]).numpy(), arrays[1])
        np.testing.assert_array_equal(torch.cat([target["scales"] for target in targets]).numpy(), arrays[2].astype("f4"))


@pytest.mark.parametrize("batch_size", [1, 7, 40])
def test_without_workers(folder, arrays, batch_size):
    assert_epochs(DataLoader(TextureDataset(folder, target="both"), batch_size), arrays)


@quiet
@pytest.mark.parametrize(("start", "workers", "persistent"), WAYS)
def test_with_workers_after_access_by_the_parent(folder, arrays, start, workers, persistent):
    dataset = TextureDataset(folder, target="both")
    _ = dataset[0], dataset[39]
    options = {"num_workers": workers, "multiprocessing_context": start, "persistent_workers": persistent}
    assert_epochs(DataLoader(dataset, 7, **options), arrays)


@quiet
def test_a_recipe_with_workers_that_are_forked_after_access_by_the_parent(recipe, arrays):
    dataset = RecipeDataset(recipe, target="both")
    _ = dataset[1]
    assert_epochs(DataLoader(dataset, 7, num_workers=2, multiprocessing_context="fork"), arrays)


@quiet
def test_the_order_of_a_shuffle_is_the_same_with_any_number_of_workers(folder):
    def labels_and_means(workers):
        dataset = TextureDataset(folder)
        loader = DataLoader(dataset, 4, sampler=ShardShuffle(dataset, seed=3), num_workers=workers)
        return [
            [(image.mean().item(), label) for image, label in zip(*batch, strict=True)] for _ in range(2) for batch in loader
        ]

    alone = labels_and_means(0)
    assert alone[:10] != alone[10:]  # two epochs
    assert labels_and_means(2) == alone


@quiet
def test_an_error_in_a_worker_names_the_shard(tmp_path, recipe):
    generate(recipe, tmp_path, executor=ThreadPoolExecutor(1), shard_size=5 * recipe.texture_bytes, progress=False)
    (tmp_path / "train/00004.h5").write_bytes(b"")
    with pytest.raises(DatasetError, match=r"00004.h5 is damaged .*gptex repair"):
        list(DataLoader(TextureDataset(tmp_path), 5, num_workers=1, multiprocessing_context="fork"))
