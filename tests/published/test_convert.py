"""Import: files of the original software become a dataset, read here by docs/format.md alone, or nothing at all.

The files are written by numpy, pickle and zipfile; the datasets are read by json and h5py.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import pytest

from gptex import DatasetError, GptexError, import_legacy

from .files import npy, zip_of

NAME = "GP_9.5-10+80-140.gp"
SCALES = {0: (9.5, 80), 1: (10, 80), 2: (9.5, 140), 3: (10, 140)}
GPTEX = Path(sys.executable).with_name("gptex")


def names(folder):
    """All that lies in a folder, also what is hidden."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def read(folder):
    """Manifest and arrays of a dataset's only split, as docs/format.md has them."""
    manifest = json.loads((folder / "manifest.json").read_bytes())
    parts = {name: [] for name in ("images", "labels", "length_scales", "index")}
    for shard in manifest["shards"]:
        with h5py.File(folder / shard["file"]) as file:
            for name, part in parts.items():
                assert file[name].shape[0] == shard["count"]
                part.append(file[name][()])
    return manifest, {name: np.concatenate(part) for name, part in parts.items()}


def assert_holds(folder, images, labels, scales):
    """Whether a dataset holds these images, bit by bit and in this order, with their labels and length scales."""
    _, arrays = read(folder)
    assert arrays["images"].dtype == images[0].dtype.newbyteorder("<")
    assert arrays["images"].tobytes() == b"".join(
        np.ascontiguousarray(image, arrays["images"].dtype).tobytes() for image in images
    )
    assert arrays["labels"].dtype == "<i8"
    assert arrays["labels"].tolist() == list(labels)
    assert arrays["length_scales"].dtype == "<f8"
    assert arrays["length_scales"].tolist() == [list(scales[label]) for label in labels]
    assert arrays["index"].dtype == "<i8"
    assert arrays["index"].tolist() == list(range(len(images)))


@pytest.fixture
def bring(tmp_path):
    """Imports a file into a new folder, quietly, and gives the folder."""

    def run(path, out="out", **options):
        import_legacy(path, tmp_path / out, progress=False, **options)
        return tmp_path / out

    return run


@pytest.fixture
def crosses(images, table, tmp_path):
    """A pickle of eight images with labels 0 to 3 twice, in a folder of its own."""
    path = tmp_path / "original" / NAME
    path.parent.mkdir()
    path.write_bytes(pickle.dumps([[[image, n % 4] for n, image in enumerate(images)], table], 3))
    return path


# What is brought


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_a_pickle_becomes_a_dataset_bit_by_bit(protocol, images, table, bring, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(pickle.dumps([[[image, n % 4] for n, image in enumerate(images)], table], protocol))
    out = bring(path)
    assert_holds(out, images, [0, 1, 2, 3] * 2, SCALES)
    assert names(tmp_path) == [NAME, "out", "out/README.md", "out/manifest.json", "out/train", "out/train/00000.h5"]


@pytest.mark.parametrize("python", [2, 3])
def test_a_file_of_numpy_1_14_does_too(python, images, table, numpy114, bring, tmp_path):
    path = tmp_path / NAME
    path.write_bytes(numpy114([(image, n % 4) for n, image in enumerate(images)], table, python))
    assert_holds(bring(path), images, [0, 1, 2, 3] * 2, SCALES)


@pytest.mark.parametrize("kind", ["<f8", ">f4", ">f8", "<f2"])
@pytest.mark.parametrize("shape", [(24, 16), (31,), (5, 6, 7)])
def test_types_byte_orders_and_numbers_of_axes_are_kept_as_values(kind, shape, bring, tmp_path):
    images = np.random.default_rng(1).normal(size=(4, *shape)).astype(kind)
    path = tmp_path / "some.gp"
    path.write_bytes(pickle.dumps([[[image, n // 2] for n, image in enumerate(images)], {0: "9.5", 1: "10"}]))
    assert_holds(bring(path), list(images), [0, 0, 1, 1], {0: (9.5,), 1: (10,)})


def test_fortran_order_is_turned_into_rows(images, bring, tmp_path):
    path = tmp_path / "some.gp"
    pairs = [[np.asfortranarray(image), 0] for image in images]
    assert pairs[0][0].strides != images[0].strides
    path.write_bytes(pickle.dumps([pairs, {0: "9.5"}]))
    assert_holds(bring(path), images, [0] * 8, {0: (9.5,)})


def test_an_archive_is_brought_and_says_what_was_left_out(images, crosses, bring, tmp_path):
    members = {
        f"dataset/{NAME}": crosses.read_bytes(),
        f"__MACOSX/dataset/._{NAME}": b"x",
        "dataset/.DS_Store": b"x",
        "dataset/readme.txt": b"two scales",
    }
    out = bring(zip_of(tmp_path / "dataset.zip", members), origin={"licence": "not stated", "file": "d.zip"})
    assert_holds(out, images, [0, 1, 2, 3] * 2, SCALES)
    source = read(out)[0]["source"]
    assert source["name"] == "dataset"
    assert source["origin"] == {"file": "d.zip", "licence": "not stated", "left_out": ["dataset/readme.txt"]}


@pytest.mark.parametrize("packed", [False, True])
def test_samples_with_uneven_counts_are_ordered_by_length_scale_and_number(packed, bring, tmp_path):
    rng = np.random.default_rng(2)
    numbers = {200: [1], 9.5: [1, 2, 10], 10: [2, 4]}
    fields = {(scale, n): rng.normal(size=(24, 24)) for scale, each in numbers.items() for n in each}
    members = {f"gp-samples/final_size-24_corr-{scale}_v{n}.npy": npy(field) for (scale, n), field in fields.items()}
    path = tmp_path / "samples"
    if packed:
        path = zip_of(tmp_path / "samples.zip", members)
    else:
        (path / "gp-samples").mkdir(parents=True)
        for name, data in members.items():
            (path / name).write_bytes(data)
    out = bring(path)
    order = [(9.5, 1), (9.5, 2), (9.5, 10), (10, 2), (10, 4), (200, 1)]
    assert_holds(out, [fields[each] for each in order], [0, 0, 0, 1, 1, 2], {0: (9.5,), 1: (10,), 2: (200,)})
    manifest, _ = read(out)
    assert manifest["splits"] == {"train": {"textures": 6, "per_class": [3, 2, 1]}}
    assert manifest["classes"] == ["9.5", "10", "200"]


def test_labels_with_gaps_are_counted_from_0_in_their_order(images, bring, tmp_path):
    path = tmp_path / "some.gp"
    path.write_bytes(pickle.dumps([[[image, (3, 1)[n % 2]] for n, image in enumerate(images)], {3: "10-80", 1: "9.5-80"}]))
    out = bring(path)
    assert_holds(out, images, [1, 0] * 4, {0: (9.5, 80), 1: (10, 80)})
    assert read(out)[0]["splits"]["train"] == {"textures": 8, "per_class": 4}


def test_a_class_without_an_image_keeps_its_label(images, bring, tmp_path):
    path = tmp_path / "some.gp"
    path.write_bytes(pickle.dumps([[[image, 1] for image in images], {0: "9.5", 1: "10", 2: "12"}]))
    out = bring(path)
    assert_holds(out, images, [1] * 8, {1: (10,)})
    assert read(out)[0]["splits"]["train"]["per_class"] == [0, 8, 0]


@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_shards_are_cut_and_compressed_as_asked(compression, images, crosses, bring):
    out = bring(crosses, shard_size=3 * images[0].nbytes, compression=compression)
    manifest, _ = read(out)
    assert [(shard["first"], shard["count"]) for shard in manifest["shards"]] == [(0, 2), (2, 3), (5, 3)]
    assert_holds(out, images, [0, 1, 2, 3] * 2, SCALES)
    with h5py.File(out / "train/00001.h5") as file:
        stored = file["images"]
        assert stored.compression == (None if compression == "none" else compression)
        if compression == "none":
            data = (out / "train/00001.h5").read_bytes()[stored.id.get_offset() :][: 3 * images[0].nbytes]
            assert data == b"".join(image.tobytes() for image in images[2:5])


def test_manifest_and_shards_are_as_the_format_says(images, crosses, bring):
    out = bring(crosses, shard_size=3 * images[0].nbytes)
    manifest, _ = read(out)
    assert manifest["format"] == 1
    assert "recipe" not in manifest
    assert "recipe_sha256" not in manifest
    assert manifest["source"] == {
        "name": "GP_9.5-10+80-140",
        "shape": [24, 16],
        "dtype": "float32",
        "class_scales": [[9.5, 80.0], [10.0, 80.0], [9.5, 140.0], [10.0, 140.0]],
        "origin": {"file": NAME, "left_out": []},
    }
    assert manifest["classes"] == ["9.5-80", "10-80", "9.5-140", "10-140"]
    assert manifest["splits"] == {"train": {"textures": 8, "per_class": 2}}
    assert manifest["losses"] == {}
    assert set(manifest["versions"]) == {"gptex", "numpy", "scipy", "h5py", "python", "machine"}
    for number, shard in enumerate(manifest["shards"]):
        assert shard["file"] == f"train/{number:05d}.h5"
        data = (out / shard["file"]).read_bytes()
        assert (shard["bytes"], shard["sha256"]) == (len(data), hashlib.sha256(data).hexdigest())
        with h5py.File(out / shard["file"]) as file:
            arrays = b"".join(file[name][()].tobytes() for name in ("images", "labels", "length_scales", "index"))
            assert file.attrs["arrays_sha256"] == shard["arrays_sha256"] == hashlib.sha256(arrays).hexdigest()
            assert (file.attrs["format"], file.attrs["split"]) == (1, "train")
            assert json.loads(file.attrs["source"]) == manifest["source"]
            assert "recipe" not in file.attrs


def test_the_same_file_gives_the_same_shards(crosses, bring):
    first, second = bring(crosses, "one"), bring(crosses, "two")
    assert [s["sha256"] for s in read(first)[0]["shards"]] == [s["sha256"] for s in read(second)[0]["shards"]]


def test_what_is_left_out_is_told_in_few_names_of_text(crosses, bring):
    for n in range(3000):
        (crosses.parent / f"note {n:04d} {'x' * 100}").touch()
    (crosses.parent / os.fsdecode(b"a caf\xe9\n.txt")).touch()
    source = read(bring(crosses.parent))[0]["source"]
    left_out = source["origin"]["left_out"]
    assert len(left_out) == 21
    assert left_out[0] == r"a caf\udce9\n.txt"
    assert left_out[-1] == "2981 more"


def test_the_current_folder_has_a_name_too(crosses, tmp_path):
    command = [GPTEX, "import", ".", "-o", tmp_path / "out", "--quiet"]
    subprocess.run(command, cwd=crosses.parent, check=True, timeout=60)
    assert read(tmp_path / "out")[0]["source"]["name"] == "original"


# What is refused leaves nothing


@pytest.mark.parametrize(
    ("value", "says"), [(np.nan, "values that are not finite"), (np.inf, "values that are not finite"), (0.25, "is constant")]
)
def test_one_bad_image_among_many_leaves_nothing(value, says, images, bring, tmp_path):
    many = [images[0] + n for n in range(80)]
    many[57] = np.full((24, 16), value, "f4")
    path = tmp_path / "some.gp"
    path.write_bytes(pickle.dumps([[[image, 0] for image in many], {0: "9.5"}]))
    with pytest.raises(DatasetError, match=f"some.gp: image 57 .*{says}"):
        bring(path, shard_size=10 * many[0].nbytes)
    assert names(tmp_path) == ["some.gp"]


def test_an_empty_folder_is_empty_after_an_error_and_the_same_folder_after_success(images, crosses, bring, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    identity = out.stat().st_ino
    images[5][:] = 0
    bad = tmp_path / "bad.gp"
    bad.write_bytes(pickle.dumps([[[image, 0] for image in images], {0: "9.5"}]))
    with pytest.raises(DatasetError, match="image 5 is constant"):
        bring(bad)
    assert names(out) == []
    bring(crosses)
    assert names(out) == ["README.md", "manifest.json", "train", "train/00000.h5"]
    assert out.stat().st_ino == identity


def test_an_unknown_compression_or_shard_size_is_refused_before_anything(crosses, bring, tmp_path):
    with pytest.raises(GptexError, match="compression is none, gzip or lzf"):
        bring(crosses, compression="zip")
    with pytest.raises(GptexError, match="at least one byte"):
        bring(crosses, shard_size=0)
    with pytest.raises(DatasetError, match="name"):
        bring(crosses, name="two\nlines")
    assert names(tmp_path) == ["original", f"original/{NAME}"]


# Stopped and begun again


@pytest.fixture
def large(tmp_path):
    """A pickle of 32 images of 512², 34 MB, which takes a while to bring; and the hash of its images."""
    base = np.random.default_rng(3).normal(size=(512, 512)).astype("f4")
    images = [np.roll(base, n) for n in range(32)]
    path = tmp_path / "large.gp"
    path.write_bytes(pickle.dumps([[[image, n % 2] for n, image in enumerate(images)], {0: "9.5", 1: "10"}], 3))
    return path, hashlib.sha256(b"".join(image.tobytes() for image in images)).hexdigest()


SLOW = """
import sys
import gptex
gptex.import_legacy(sys.argv[1], sys.argv[2], shard_size=2**21, compression="gzip", progress=False)
"""


@pytest.mark.parametrize("there", [False, True], ids=["new folder", "empty folder"])
def test_a_killed_run_leaves_no_dataset_and_the_next_one_the_right_one(there, large, tmp_path):
    path, expected = large
    out = tmp_path / "the données"
    if there:
        out.mkdir()
    command = [sys.executable, "-c", SLOW, path, out]
    run = subprocess.Popen(command)
    try:
        deadline = time.monotonic() + 60
        while not list(tmp_path.rglob("00003.h5")):
            assert run.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.01)
    finally:
        run.send_signal(signal.SIGKILL)
        run.wait()
    assert [name for name in names(tmp_path) if name.endswith("manifest.json")] == []
    assert out.exists() == there
    subprocess.run(command, check=True, timeout=60)
    assert sorted(os.listdir(tmp_path)) == ["large.gp", "the données"]
    manifest, arrays = read(out)
    assert hashlib.sha256(arrays["images"].tobytes()).hexdigest() == expected
    assert sorted(names(out)) == sorted(
        ["README.md", "manifest.json", "train", *(shard["file"] for shard in manifest["shards"])]
    )


def test_of_two_runs_into_one_folder_one_does_it_and_the_other_says_so(large, tmp_path):
    path, expected = large
    out = tmp_path / "out"
    command = [GPTEX, "import", path, "-o", out, "--quiet"]
    runs = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for _ in range(3)]
    errors = [run.communicate(timeout=60)[1] for run in runs]
    assert sorted(run.returncode for run in runs) == [0, 1, 1]
    for line in filter(None, errors):
        assert re.fullmatch(
            r"gptex: \S+ (is being written by another run: wait for it, or stop it|holds something: .*)\n", line
        )
    assert hashlib.sha256(read(out)[1]["images"].tobytes()).hexdigest() == expected
    assert sorted(os.listdir(tmp_path)) == ["large.gp", "out"]


# At full size

MEASURE = """
import sys
import time
from pathlib import Path
import gptex
start = time.perf_counter()
manifest = gptex.import_legacy(sys.argv[1], sys.argv[2], progress=False)
peak = Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]  # resource counts what came before exec too
print(time.perf_counter() - start, int(peak) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
def test_the_published_size_is_brought_in_little_memory(numpy114_writer, tmp_path, capsys):
    base, digest, path = np.random.default_rng(7).normal(size=(1024, 1024)).astype("f4"), hashlib.sha256(), tmp_path / NAME
    with path.open("wb") as file:
        writer = numpy114_writer(file.write)
        for n in range(100):
            image = np.roll(base, n)
            writer.pair(image, n % 4)
            digest.update(image.data)
        writer.end({0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"})
    command = [sys.executable, "-c", MEASURE, path, tmp_path / "out"]
    seconds, peak = map(float, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    with capsys.disabled():
        sys.stdout.write(
            f"\n100 × 1024², {path.stat().st_size / 1e6:.0f} MB: brought in {seconds:.2f} s, at most {peak:.0f} MB\n"
        )
    path.unlink()
    found = hashlib.sha256()
    for shard in json.loads((tmp_path / "out/manifest.json").read_bytes())["shards"]:
        with h5py.File(tmp_path / "out" / shard["file"]) as file:
            for image in file["images"]:
                found.update(image.tobytes())
            assert file["labels"][()].tolist() == [n % 4 for n in range(shard["first"], shard["first"] + shard["count"])]
    assert found.digest() == digest.digest()
    assert peak < 500
