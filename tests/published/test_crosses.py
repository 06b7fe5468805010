"""Combine: textures are the weighted sums that the original software made of its samples, in its order.

The expected textures are worked out here from samples written by numpy; datasets are read by json and h5py.
"""

from __future__ import annotations

import itertools
import json
import math
from concurrent.futures import ThreadPoolExecutor

import h5py
import numpy as np
import pytest

from gptex import Component, DatasetError, GptexError, Recipe, combine, generate, import_legacy

SIZE = 16


def read(folder, split="train"):
    """Manifest and arrays of a split, as docs/format.md has them."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    parts = {name: [] for name in ("images", "labels", "length_scales", "index")}
    for shard in manifest["shards"]:
        if shard["split"] == split:
            with h5py.File(folder / shard["file"]) as file:
                for name, part in parts.items():
                    part.append(file[name][()])
    return manifest, {name: np.concatenate(part) for name, part in parts.items()}


def crosses(samples, scales, weights):
    """Textures, labels and length scales from lists of samples by length scale: the original's way.

    The first component's length scale changes fastest with the label. A class takes its own stretch of the samples of each
    of its length scales: the classes that share one take one stretch after the other, in the order of their labels.
    """
    classes = [choices[::-1] for choices in itertools.product(*reversed(scales))]
    users = {scale: [each for each in classes if scale in each] for choices in scales for scale in choices}
    per_class = min(len(samples[scale]) // len(each) for scale, each in users.items())
    images, labels = [], []
    for j in range(per_class):
        for label, choices in enumerate(classes):
            total = np.zeros(samples[choices[0]][0].shape)
            for scale, weight in zip(choices, weights, strict=True):
                stretch = users[scale].index(choices) * per_class
                total = total + weight * samples[scale][stretch + j].astype(np.float64)
            images.append(total)
            labels.append(label)
    return images, labels, [list(classes[label]) for label in labels]


@pytest.fixture
def imported(tmp_path):
    """Imports samples of so many for each length scale; their fields, and the dataset's folder."""

    def run(counts, size=SIZE):
        rng = np.random.default_rng(8)
        fields = {scale: [rng.normal(size=(size, size)) for _ in range(n)] for scale, n in counts.items()}
        (tmp_path / "npy").mkdir()
        for scale, each in fields.items():
            for number, field in enumerate(each, start=1):
                np.save(tmp_path / "npy" / f"final_size-{size}_corr-{scale:g}_v{number}.npy", field)
        import_legacy(tmp_path / "npy", tmp_path / "samples", shard_size=5 * size * size * 8, progress=False)
        return fields, tmp_path / "samples"

    return run


@pytest.fixture
def samples(imported):
    """The folder of four samples each of four length scales."""
    return imported(dict.fromkeys((9.5, 10, 80, 140), 4))[1]


@pytest.fixture
def refusal(tmp_path):
    """The one line in which a combination is refused; it leaves nothing."""

    def run(samples, **options):
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(GptexError) as error:
            combine(samples, tmp_path / "out", progress=False, **options)
        assert "\n" not in str(error.value)
        assert sorted(tmp_path.rglob("*")) == before
        return str(error.value)

    return run


TWO = [[9.5, 10], [80, 140]]
EIGHT = [[9.5, 10], [60, 80], [140, 200]]


@pytest.mark.parametrize(
    ("counts", "scales", "weights", "per_class"),
    [
        ({9.5: 6, 10: 6, 80: 6, 140: 6}, TWO, [0.75, 1.25], 3),
        ({9.5: 9, 10: 8, 60: 12, 80: 9, 140: 8, 200: 11}, EIGHT, [0.5, 1, 2], 2),
        ({9.5: 6, 10: 7, 80: 4, 140: 5, 200: 4}, [[9.5, 10], [80, 140, 200]], [1 / 3, -0.1], 2),
        ({3: 2, 4: 3, 5: 2, 60: 6, 140: 3, 200: 4}, [[4, 3, 5], [60], [200, 140]], [0.1, 0.7, 3], 1),
        ({9.5: 3, 10: 2}, [[10, 9.5]], [0.3], 2),
        ({9.5: 50, 10: 50, 80: 7, 140: 50}, TWO, [0.75, 1.25], 3),
    ],
    ids=["2x2", "2x2x2", "2x3", "3x1x2", "one component", "uneven counts"],
)
def test_textures_are_the_originals_crosses_bit_by_bit(counts, scales, weights, per_class, imported, tmp_path):
    fields, samples = imported(counts)
    combine(samples, tmp_path / "out", scales=scales, weights=weights, shard_size=3 * SIZE * SIZE * 4, progress=False)
    manifest, arrays = read(tmp_path / "out")
    images, labels, length_scales = crosses(fields, scales, weights)
    assert arrays["images"].dtype == "<f4"
    np.testing.assert_array_equal(arrays["images"], np.array([image.astype(np.float32) for image in images]))
    assert arrays["labels"].tolist() == labels
    assert arrays["length_scales"].tolist() == length_scales
    assert arrays["index"].tolist() == list(range(len(images)))
    classes = math.prod(map(len, scales))
    assert manifest["splits"] == {"train": {"textures": per_class * classes, "per_class": per_class}}
    assert manifest["classes"] == ["-".join(f"{scale:g}" for scale in each) for each in length_scales[:classes]]


def test_each_sample_is_used_once_at_most(tmp_path, imported):
    """Samples that are powers of two with one bit each tell from a sum which of them are in it."""
    scales = [[2, 3, 4], [5, 6]]
    counts = {2: 6, 3: 6, 4: 7, 5: 9, 6: 9}
    bits = iter(range(sum(counts.values())))
    (tmp_path / "npy").mkdir()
    for scale, count in counts.items():
        for number in range(1, count + 1):
            field = np.eye(SIZE) * 2.0 ** next(bits)
            np.save(tmp_path / "npy" / f"final_size-{SIZE}_corr-{scale}_v{number}.npy", field)
    import_legacy(tmp_path / "npy", tmp_path / "samples", progress=False)
    combine(tmp_path / "samples", tmp_path / "out", scales=scales, dtype="float64", progress=False)
    sums = [int(image[0, 0]) for image in read(tmp_path / "out")[1]["images"]]
    assert len(sums) == 18
    assert all(total.bit_count() == 2 for total in sums)
    assert sum(sums) == sum(set(sums))
    assert sum(sums).bit_count() == 36


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_the_sum_is_taken_in_float64_and_stored_as_asked(dtype, imported, tmp_path):
    fields, samples = imported({9.5: 2, 10: 2, 80: 2, 140: 2})
    combine(samples, tmp_path / "out", scales=TWO, weights=[0.75, 1.25], dtype=dtype, progress=False)
    found = read(tmp_path / "out")[1]["images"]
    assert found.dtype == dtype
    expected = crosses(fields, TWO, [0.75, 1.25])[0]
    np.testing.assert_array_equal(found, np.array(expected).astype(dtype))


@pytest.mark.parametrize("shape", [(32, 48), (33,), (16, 16, 16)])
def test_samples_may_be_generated_in_any_shape_and_split(shape, tmp_path):
    field = Component(name="field", length_scales=[2, 3, 4, 5])
    recipe = Recipe(name="samples", shape=shape, components=[field], standardize=True, splits={"train": 2, "other": 5})
    generate(recipe, tmp_path / "samples", executor=ThreadPoolExecutor(1), shard_size=3 * recipe.texture_bytes, progress=False)
    manifest, there = read(tmp_path / "samples", "other")
    fields = {}
    for image, (scale,) in zip(there["images"], there["length_scales"].tolist(), strict=True):
        fields.setdefault(scale, []).append(image)
    scales = [[3, 2], [5, 4]]
    combine(tmp_path / "samples", tmp_path / "out", scales=scales, weights=[2, 0.5], split="other", progress=False)
    made, arrays = read(tmp_path / "out", "other")
    images, labels, _ = crosses(fields, scales, [2, 0.5])
    np.testing.assert_array_equal(arrays["images"], np.array(images).astype("f4"))
    assert arrays["labels"].tolist() == labels
    assert list(made["splits"]) == ["other"]
    assert made["source"]["origin"]["samples"] == {"recipe": "samples", "recipe_sha256": manifest["recipe_sha256"]}


def test_the_new_dataset_says_what_it_was_composed_of(samples, tmp_path):
    combine(samples, tmp_path / "out", scales=TWO, weights=[0.75, 1.25], name="mine", progress=False)
    source = read(tmp_path / "out")[0]["source"]
    assert source["name"] == "mine"
    assert source["class_scales"] == [[9.5, 80], [10, 80], [9.5, 140], [10, 140]]
    assert source["origin"]["combined_from"] == "npy"
    assert source["origin"]["weights"] == [0.75, 1.25]
    assert source["origin"]["samples"]["file"] == "npy"


def test_weights_are_1_by_default_and_the_first_split_is_taken(imported, tmp_path):
    fields, samples = imported({9.5: 2, 10: 2, 80: 2, 140: 2})
    combine(samples, tmp_path / "out", scales=TWO, progress=False)
    expected = crosses(fields, TWO, [1, 1])[0]
    np.testing.assert_array_equal(read(tmp_path / "out")[1]["images"], np.array(expected).astype("f4"))


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"scales": [[9.5, 11], [80]]}, "no samples of length scale 11: there are 9.5, 10, 80, 140"),
        ({"scales": [[9.5, math.nan]]}, "no samples of length scale nan"),
        ({"scales": [[-9.5]]}, "no samples of length scale -9.5"),
        ({"scales": [[9.5], [10, 9.5]]}, "length scale 9.5 stands twice"),
        ({"scales": [[9.5, 9.5]]}, "length scale 9.5 stands twice"),
        ({"scales": []}, "at least one component"),
        ({"scales": [[9.5], []]}, "at least one component"),
        ({"scales": TWO, "weights": [1]}, "1 weights for 2 components"),
        ({"scales": TWO, "weights": []}, "0 weights for 2 components"),
        ({"scales": TWO, "weights": [1, math.nan]}, "weights are finite"),
        ({"scales": TWO, "weights": [1, math.inf]}, "weights are finite"),
        ({"scales": TWO, "split": "val"}, "no split 'val': there are train"),
        ({"scales": TWO, "dtype": "int8"}, "dtype"),
        ({"scales": TWO, "name": "two\nlines"}, "name"),
        ({"scales": TWO, "weights": [1e5, 1], "dtype": "float16"}, "a texture of class 9.5-80 is too large for float16"),
        ({"scales": TWO, "weights": [1e300, 1]}, "too large for float32"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(options, says, samples, refusal):
    assert says in refusal(samples, **options)


def test_too_few_samples_are_counted(imported, refusal):
    _, samples = imported({9.5: 4, 10: 4, 60: 4, 80: 1, 140: 4})
    line = refusal(samples, scales=[[9.5, 10], [60, 80]])
    assert "has 1 sample of length scale 80, fewer than the 2 classes that need one" in line


def test_textures_of_two_length_scales_are_no_samples(samples, refusal, tmp_path):
    combine(samples, tmp_path / "textures", scales=TWO, progress=False)
    assert "textures of 2 length scales each, not of one" in refusal(tmp_path / "textures", scales=[[9.5]])


def test_damaged_samples_are_refused_and_what_is_no_dataset_too(samples, refusal, tmp_path):
    shard = samples / "train/00001.h5"
    data = bytearray(shard.read_bytes())
    data[-1] ^= 1
    shard.write_bytes(data)
    assert "is damaged: train/00001.h5 has other bytes than in the manifest" in refusal(samples, scales=TWO)
    shard.unlink()
    assert "is damaged: train/00001.h5 is missing" in refusal(samples, scales=TWO)
    assert "has no manifest.json" in refusal(tmp_path / "npy", scales=TWO)
    assert "does not exist" in refusal(tmp_path / "nothing", scales=TWO)


def test_a_folder_that_holds_something_stays_as_it_is(samples, tmp_path):
    before = {path: path.read_bytes() for path in samples.rglob("*.*") if path.is_file()}
    with pytest.raises(DatasetError, match="holds something"):
        combine(samples, samples, scales=TWO, progress=False)
    assert {path: path.read_bytes() for path in samples.rglob("*.*") if path.is_file()} == before
