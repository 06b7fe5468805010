"""The original software's files: alone, in folders and archives; what they hold is checked before it is believed."""

from __future__ import annotations

import pickle
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from gptex.errors import DatasetError
from gptex.published import open_legacy

from .files import npy, zip_of

NAME = "GP_9.5-10+80-140.gp"


@pytest.fixture
def pairs(images):
    return [[image, n % 4] for n, image in enumerate(images)]


@pytest.fixture
def write(tmp_path):
    """A function that pickles a value and gives the file's path."""

    def write(value, protocol=3):
        path = tmp_path / NAME
        path.write_bytes(pickle.dumps(value, protocol))
        return path

    return write


def refusal(path):
    """The one line in which the file at `path`, or one of its images, is refused; nothing is written."""
    before = sorted(Path(path).parent.rglob("*"))
    with pytest.raises(DatasetError) as error, open_legacy(path) as legacy:
        list(legacy)
    line = str(error.value)
    assert Path(path).name in line
    assert "\n" not in line
    assert len(line) - len(str(path)) < 300
    assert sorted(Path(path).parent.rglob("*")) == before
    return line


def sample_name(scale, number, size=24):
    return f"final_size-{size}_corr-{scale}_v{number}.npy"


@pytest.fixture
def samples():
    """Fields by name: two of ℓ = 10, then two of ℓ = 9.5, as float64."""
    rng = np.random.default_rng(4)
    return {sample_name(scale, number): rng.normal(size=(24, 24)) for scale in (10, 9.5) for number in (1, 2)}


# -- crosses


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_crosses_come_with_labels_and_length_scales_in_the_order_of_the_file(protocol, pairs, table, write):
    with open_legacy(write([pairs, table], protocol)) as legacy:
        assert len(legacy) == 8
        assert legacy.shape == (24, 16)
        assert legacy.dtype == "float32"
        assert legacy.classes == {0: (9.5, 80), 1: (10, 80), 2: (9.5, 140), 3: (10, 140)}
        assert legacy.labels == (0, 1, 2, 3) * 2
        assert legacy.counts == {0: 2, 1: 2, 2: 2, 3: 2}
        assert legacy.left_out == ()
        for _ in range(2):
            textures = list(legacy)
            for texture, (image, label) in zip(textures, pairs, strict=True):
                np.testing.assert_array_equal(texture.image, image)
                assert texture.label == label
                assert texture.length_scales == legacy.classes[label]


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize("python", [2, 3])
def test_crosses_are_found_in_an_archive_at_any_depth_and_among_other_files(method, python, pairs, table, numpy114, tmp_path):
    members = {
        "data/": b"",
        "data/README.txt": b"two scales",
        "data/.DS_Store": b"x",
        f"data/gp-crosses/{NAME}": numpy114(pairs, table, python),
        f"__MACOSX/data/gp-crosses/._{NAME}": b"not a pickle",
        f"__MACOSX/data/{NAME}": b"not a pickle",
    }
    with open_legacy(zip_of(tmp_path / "dataset.zip", members, method)) as legacy:
        assert legacy.left_out == ("data/README.txt",)
        for texture, (image, label) in zip(legacy, pairs, strict=True):
            np.testing.assert_array_equal(texture.image, image)
            assert texture.label == label
    assert [path.name for path in tmp_path.iterdir()] == ["dataset.zip"]


def test_crosses_are_found_in_a_folder_and_under_any_name_if_named(pairs, table, write):
    path = write([pairs, table])
    with open_legacy(path.parent) as legacy:
        assert len(legacy) == 8
    other = path.rename(path.with_name("textures.pickle"))
    with open_legacy(str(other)) as legacy:
        assert len(legacy) == 8


def test_three_scales_and_other_labels_are_read(pairs, write):
    with open_legacy(write([[(image, 5) for image, _ in pairs], {9: "9.5-60-140", 5: "10-80-200.25"}])) as legacy:
        assert list(legacy.classes.items()) == [(5, (10, 80, 200.25)), (9, (9.5, 60, 140))]
        assert legacy.counts == {5: 8, 9: 0}


def changed(pairs, table, key, value):
    """A pickle's value with one thing changed."""
    where = {"image": lambda: pairs[5].__setitem__(0, value), "label": lambda: pairs[5].__setitem__(1, value)}
    where["pair"] = lambda: pairs.__setitem__(5, value)
    where["table"] = lambda: (table.clear(), table.update(value))
    where[key]()
    return [pairs, table]


NAN, INFINITE = np.ones((24, 16), "f4"), np.arange(384, dtype="f4").reshape(24, 16)
NAN[3, 4], INFINITE[3, 4] = np.nan, -np.inf


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("image", NAN, "image 5 has values that are not finite"),
        ("image", INFINITE, "image 5 has values that are not finite"),
        ("image", np.full((24, 16), 0.5, "f4"), "image 5 is constant: every pixel is 0.5"),
        ("image", np.ones((16, 24), "f4"), "image 5 is float32 of shape (16, 24)"),
        ("image", np.ones((24, 16)), "image 5 is float64"),
        ("image", np.ones((24, 16), ">f4"), "image 5 is >f4"),
        ("image", np.ones((24, 16), "i4"), "image 5 is int32"),
        ("image", [1.0, 2.0], "entry 5 is not an image"),
        ("image", "9.5", "entry 5 is not an image"),
        ("label", 4, "image 5 has label 4, which is not in the table"),
        ("label", -1, "image 5 has label -1"),
        ("label", True, "entry 5 is not an image with a whole number"),
        ("label", 1.0, "entry 5 is not an image with a whole number"),
        ("label", "9.5-80", "entry 5 is not an image with a whole number"),
        ("label", None, "entry 5 is not an image with a whole number"),
        ("pair", [], "entry 5 is not an image"),
        ("pair", [NAN, 1, 2], "entry 5 is not an image"),
        ("pair", {0: 1}, "entry 5 is not an image"),
        ("table", {}, "not a list of images and a table"),
        ("table", {0: "9.5-80", 1: "10-80"}, "image 2 has label 2"),
        ("table", {0: "9.5-80", 1: "fine"}, "1 in the table of classes"),
        ("table", {0: "9.5-80", 1: "10-"}, "1 in the table of classes"),
        ("table", {0: "9.5-80", 1: "-10"}, "1 in the table of classes"),
        ("table", {0: "9.5-80", 1: "nan-inf"}, "1 in the table of classes"),
        ("table", {0: "9.5-80", 1: "1e3"}, "1 in the table of classes"),
        ("table", {0: "9.5-80", 1: ("10", "80")}, "1 in the table of classes"),
        ("table", {0: "9.5-80", -1: "10-80"}, "-1 in the table of classes"),
        ("table", {0: "9.5-80", True: "10-80"}, "a key"),
        ("table", {"0": "9.5-80"}, "'0' in the table of classes"),
        ("table", {0: "9.5-80", 1: "0-80"}, "not positive"),
        ("table", {0: "9.5-80", 1: "10"}, "different numbers"),
        ("table", {0: "9.5-80", 1: "9.5-80.0"}, "do not differ"),
    ],
)
def test_wrong_content_is_refused_with_its_place(key, value, says, pairs, table, write):
    assert says in refusal(write(changed(pairs, table, key, value)))


@pytest.mark.parametrize("protocol", [2, 5])
def test_the_same_image_twice_is_refused(protocol, pairs, table, write):
    pairs[5][0] = pairs[1][0]
    assert "same image twice" in refusal(write([pairs, table], protocol))


@pytest.mark.parametrize(
    "value", [[], [[]], None, 3, {}, "9.5", np.ones(3), [[[np.ones((2, 2)), 0]]], [[], {0: "9.5"}], [{0: "9.5"}, [[NAN, 0]]]]
)
def test_a_pickle_of_something_else_is_refused(value, write):
    assert "not a list of images and a table of classes" in refusal(write(value))


@pytest.mark.parametrize("shape", [(), (2, 2, 2, 2)])
def test_images_have_one_to_three_axes(shape, write):
    assert "one to three axes" in refusal(write([[[np.ones(shape, "f4"), 0]], {0: "9.5"}]))


def test_a_hostile_pickle_is_refused_in_an_archive_too(tmp_path):
    hostile = b"\x80\x02cposix\nsystem\nX\x0c\x00\x00\x00touch marker\x85R."
    assert "'posix.system'" in refusal(zip_of(tmp_path / "dataset.zip", {NAME: hostile}))


# -- samples


@pytest.mark.parametrize("where", ["folder", "stored", "deflated"])
def test_samples_come_by_length_scale_and_number_with_the_scale_as_label(where, samples, tmp_path):
    files = {f"gp-samples/{name}": npy(field) for name, field in samples.items()}
    files |= {"gp-samples/mean.npy": npy(np.ones(3)), "__MACOSX/gp-samples/._" + sample_name(10, 1): b"x", "notes.txt": b"x"}
    if where == "folder":
        path = tmp_path / "samples"
        for name, data in files.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(data)
    else:
        path = zip_of(tmp_path / "samples.zip", files, getattr(zipfile, f"ZIP_{where.upper()}"))
    with open_legacy(path) as legacy:
        assert legacy.classes == {0: (9.5,), 1: (10,)}
        assert legacy.labels == (0, 0, 1, 1)
        assert legacy.shape == (24, 24)
        assert sorted(legacy.left_out) == ["gp-samples/mean.npy", "notes.txt"]
        expected = [samples[sample_name(scale, number)] for scale in (9.5, 10) for number in (1, 2)]
        for texture, field in zip(legacy, expected, strict=True):
            np.testing.assert_array_equal(texture.image, field)
            assert texture.image.dtype == "float64"
            assert texture.length_scales == legacy.classes[texture.label]


def test_one_sample_alone_is_read_in_any_byte_and_memory_order(tmp_path):
    field = np.asfortranarray(np.random.default_rng(5).normal(size=(24, 24)).astype(">f8"))
    path = tmp_path / sample_name(9.5, 1)
    np.save(path, field)
    with open_legacy(path) as legacy:
        ((image, label, scales),) = legacy
    np.testing.assert_array_equal(image, field)
    assert (label, scales) == (0, (9.5,))


def test_a_header_of_python_2_is_read(tmp_path):
    field = np.random.default_rng(6).normal(size=(24, 24))
    data = npy(field)
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (24L, 24L), }"
    path = tmp_path / sample_name(9.5, 1)
    path.write_bytes(data[:10] + header.ljust(data.index(b"\n") - 10) + data[data.index(b"\n") :])
    with open_legacy(path) as legacy:
        ((image, _, _),) = legacy
    np.testing.assert_array_equal(image, field)


HUGE = npy(np.ones((1, 1))).replace(b"(1, 1), }" + b" " * 20, b"(999999999, 999999999), }    ")


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        (sample_name(9.5, 1), npy(np.ones((24, 24))), "constant"),
        (sample_name(9.5, 1), npy(np.full((24, 24), np.nan)), "not finite"),
        (sample_name(9.5, 1), npy(np.ones((24, 23))), "shape (24, 23)"),
        (sample_name(9.5, 1), npy(np.eye(24, dtype=int)), "begin as"),
        (sample_name(9.5, 1), npy(np.full((24, 24), {}, object)), "begin as"),
        (sample_name(9.5, 1), npy(np.zeros((24, 24), "f8,f8")), "begin as"),
        (sample_name(9.5, 1), npy(np.eye(24))[:-1], "4608 bytes"),
        (sample_name(9.5, 1), npy(np.eye(24)) + b"x", "4608 bytes"),
        (sample_name(9.5, 1), npy(np.eye(24))[:40], "damaged"),
        (sample_name(9.5, 1), b"\x93NUMPY\x01\x00\x20\x4e" + b" " * 20_000, "damaged"),
        (sample_name(9.5, 1), b"\x93NUMPY\x01\x00\x20\x03" + b"(" * 800, "damaged"),
        (sample_name(9.5, 1), b"", "damaged"),
        (sample_name(9.5, 1), b"<!DOCTYPE html>", "damaged"),
        (sample_name(9.5, 1), b"\x93NUMPY\x03\x00\x00\x00\x00\x00", "begin as"),
        (sample_name(9.5, 1, size=999999999), HUGE, "bytes of pixels"),
        (sample_name(0, 1), npy(np.eye(24)), "not positive"),
        (sample_name("9" * 5000, 1), npy(np.eye(24)), "neither"),
    ],
)
def test_a_wrong_sample_is_refused(name, data, says, tmp_path):
    assert says in refusal(zip_of(tmp_path / "samples.zip", {name: data}, zipfile.ZIP_STORED))


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_samples_are_floats_of_one_type(dtype, samples, tmp_path):
    files = {name: npy(field.astype(dtype)) for name, field in samples.items()}
    order = sorted(samples, key=lambda name: (float(name.split("corr-")[1].split("_v")[0]), int(name.split("_v")[1][:-4])))
    with open_legacy(zip_of(tmp_path / "samples.zip", files)) as legacy:
        assert legacy.dtype == np.dtype(dtype)
        for texture, name in zip(legacy, order, strict=True):
            np.testing.assert_array_equal(texture.image, samples[name].astype(dtype), strict=False)
            assert texture.image.dtype == np.dtype(dtype).newbyteorder("=")
    other = "f4" if dtype == "<f8" else "f8"
    mixed = files | {sample_name(140, 9): npy(np.eye(24, dtype=other))}
    assert "not " in refusal(zip_of(tmp_path / "mixed.zip", mixed))


def test_samples_of_two_sizes_or_with_one_number_twice_are_refused(samples, tmp_path):
    files = {name: npy(field) for name, field in samples.items()}
    sizes = files | {sample_name(10, 3, size=32): npy(np.eye(32))}
    assert "different sizes: 24, 32" in refusal(zip_of(tmp_path / "sizes.zip", sizes))
    twice = files | {f"copy/{sample_name(10, 2)}": npy(np.eye(24))}
    assert "sample 2 of length scale 10 twice" in refusal(zip_of(tmp_path / "twice.zip", twice))


# -- what is something else


def test_what_holds_nothing_of_the_kind_says_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "page.html").write_text("<!DOCTYPE html>")
    np.save(tmp_path / "field.npy", np.eye(3))
    assert "neither a .gp file nor samples" in refusal(tmp_path / "empty")
    assert "neither a .gp file nor samples" in refusal(zip_of(tmp_path / "empty.zip", {}))
    assert "neither a .gp file nor samples" in refusal(zip_of(tmp_path / "other.zip", {"a.txt": b"x"}))
    assert "neither a .gp file nor samples" in refusal(tmp_path / "field.npy")
    assert "begins with b'<!'" in refusal(tmp_path / "page.html")
    assert "No such file" in refusal(tmp_path / "missing.gp")


def test_two_pickles_are_not_chosen_between(pairs, table, tmp_path):
    data = pickle.dumps([pairs, table])
    line = refusal(zip_of(tmp_path / "dataset.zip", {"a.gp": data, "b/c.gp": data}))
    assert "2 .gp files" in line
    assert "a.gp, b/c.gp" in line


# -- at full size

READ = """
import sys
import time
from pathlib import Path

from gptex.published import open_legacy


def peak():
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def check():
    before, start, total = peak(), time.perf_counter(), 0.0
    with open_legacy(sys.argv[1]) as legacy:
        opened = time.perf_counter() - start
        for image, label, _ in legacy:
            total += float(image[0, 0])
    print(len(legacy), opened, time.perf_counter() - start, peak() - before, total)


check()
"""


def write_full_size(path, writer):
    """The published size: 100 images of 1024² float32 in four classes; the sum of their first pixels."""
    base, total = np.random.default_rng(7).normal(size=(1024, 1024)).astype("f4"), 0.0
    with path.open("wb") as file:
        crosses = writer(file.write)
        for n in range(100):
            image = np.roll(base, n)
            crosses.pair(image, n % 4)
            total += float(image[0, 0])
        crosses.end({0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"})
    return total


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from Linux's /proc")
@pytest.mark.parametrize("packed", [False, True], ids=["pickle", "zip"])
def test_the_published_size_is_read_at_the_speed_of_the_disk_in_little_memory(packed, tmp_path, numpy114_writer, capsys):
    path = tmp_path / NAME
    total = write_full_size(path, numpy114_writer)
    start = time.perf_counter()
    with path.open("rb") as file:
        while file.read(2**20):
            pass
    plain = time.perf_counter() - start
    if packed:
        with zipfile.ZipFile(tmp_path / "dataset.zip", "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            archive.write(path, f"dataset/{NAME}")
        path.unlink()
        path = tmp_path / "dataset.zip"
    output = subprocess.run([sys.executable, "-c", READ, path], capture_output=True, text=True, check=True).stdout
    count, opened, seconds, peak, found = map(float, output.split())
    with capsys.disabled():
        sys.stdout.write(
            f"\n100 × 1024² in a {path.suffix[1:]}: indexed in {opened:.3f} s, read and checked in {seconds:.2f} s, "
            f"a plain read takes {plain:.2f} s; {peak:.0f} MB beyond the interpreter\n"
        )
    path.unlink()
    assert count == 100
    assert found == pytest.approx(total, abs=1e-6)
    assert peak < 300
    assert seconds < 10 + 10 * plain
