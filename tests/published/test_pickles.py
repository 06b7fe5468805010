"""Pickles: what numpy writes is read without running it, and what anyone else writes is refused by name.

Python's own unpickler is the independent reader of the first, and runs one hostile file to show that the others would do harm.
"""

from __future__ import annotations

import base64
import copyreg
import io
import os
import pickle
import struct
import subprocess
import sys
import tracemalloc
import zlib

import numpy as np
import pytest

from gptex.errors import DatasetError
from gptex.published.pickles import MAX_OPCODES, SHORT, StoredArray, index_pickle

# Written by numpy 1.14.6: [[[a, int64(0)], [2a, big-endian and Fortran, 1]], {0: "9.5-80", int64(1): "10-80"}], a = 0 to 5.
PYTHON_2_7 = """
eJx1j8tOwkAUhqdUEOsdRfGO96qxwUQTTIxiunMSFrPqhpi21AwJt79MF12YdCPoW/govpkOLbAhnsw5czl/5j9fpNZA9BoUmSndbQetbmi4Hd8zWkFTNGzf
t0Pt1ffcTrsn/MAVGtREpbXrSRczlHwgbSoOMgPMMmR1qtAUVfuYG0nrIux6GjQrRQh5u8U8JVQZYIFhUaeqpcjXByxVq9WXXxlxoURg2fkyCySO6EmWilwy
I5nfFawIrDr/TNxz7abta8jxxLNRxlriuc6Ql5582m3DMbNkFNjso8Cw5dWwrXOVx4g7XPLtMuxN+Pb5BOkg+b7IcDhGesTRlMmx85kgVX5iHvI8PEdyL0rX
E4FThyqe944znRIrI5v3xt11uYRznuN5M6uMB9T7uGC4tNLyclMaKq4Cz/gDo6uDyg=="""
PYTHON_3_6 = """
eNprYIotZNSILWQCYmaN5LzS3IJKveT8olS93NKckszEoqLESq74otTk/LzikqLS5BKuQhaIKq68FIhsIas3Q2soY1J7UCGbhjejN5M3cxtUSUpJZUEqVyF7
KFOaiTeDNyNQCYeGN3Moo42fn5/XfyAAE94MJUmdoRIMYNBgDyQcgAiIG4B4gUNJEg53FScn5iQWcRVyZgBtyLSA2sCFw4ZQDgYoaAsq5E6NLeTRyGDJQDie
F+b4DGT38oFNs8MwrQPiXocDYMcyOILYDUBagQEo6c2YmlpbyK/hzRDKZqlnqmthUCiQwZnBFcrBiHCCYCiroQFISqg0VQ8A3fB12w=="""


def read(data):
    """The pickle's value with its arrays read."""
    file = io.BytesIO(data)

    def arrays(value):
        if isinstance(value, StoredArray):
            return value.read(file)
        if isinstance(value, list | tuple):
            return type(value)(arrays(item) for item in value)
        return value

    return arrays(index_pickle(file, "some.gp"))


def refusal(data):
    """The one line in which `data` is refused."""
    with pytest.raises(DatasetError) as error:
        index_pickle(io.BytesIO(data), "some.gp")
    line = str(error.value)
    assert line.startswith("some.gp ")
    assert "\n" not in line
    assert len(line) < 400
    return line


def assert_same(found, expected):
    """Whether lists of images and labels, and their tables, are equal."""
    assert found[1] == expected[1]
    for (image, label), (expected_image, expected_label) in zip(found[0], expected[0], strict=True):
        np.testing.assert_array_equal(image, expected_image)
        assert image.dtype == expected_image.dtype.newbyteorder("=")
        assert image.flags.c_contiguous
        assert (type(label), label) == (int, int(expected_label))


# What numpy writes


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize("dtype", ["<f4", ">f4", "<f8", "<f2"])
@pytest.mark.parametrize("shape", [(3, 2), (24, 16), (7,), (5, 6, 7)])
def test_arrays_of_this_numpy_are_read_as_they_were(protocol, dtype, shape):
    images = np.random.default_rng(1).normal(size=(3, *shape)).astype(dtype)
    value = [[[image, label] for label, image in enumerate(images)], {0: "9.5-80", 1: "10-80", 2: "60"}]
    assert_same(read(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_fortran_order_slices_and_numpy_labels_are_read(protocol, images):
    views = [np.asfortranarray(images[0]), images[1][::2, ::-1], images[2].T, np.asfortranarray(images[3].astype(">f8"))]
    labels = [np.int64(0), np.int32(1), np.uint8(2), 3]
    value = [
        [[image, label] for image, label in zip(views, labels, strict=True)],
        {np.int64(0): "9.5", np.int16(1): "10"},
    ]
    assert_same(read(pickle.dumps(value, protocol)), value)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_arrays_that_cannot_be_written_to_are_read(protocol, images):
    images[0].flags.writeable = False
    assert_same(read(pickle.dumps([[[images[0], 0]], {0: "9.5"}], protocol)), [[[images[0], 0]], {0: "9.5"}])


@pytest.mark.parametrize("text", [PYTHON_2_7, PYTHON_3_6], ids=["Python 2.7", "Python 3.6"])
def test_files_of_numpy_1_14_are_read(text):
    a = np.arange(6, dtype="f4").reshape(2, 3)
    data = zlib.decompress(base64.b64decode(text))
    assert b"numpy.core.multiarray\n_reconstruct" in data
    assert_same(read(data), [[[a, 0], [2 * a, 1]], {0: "9.5-80", 1: "10-80"}])


@pytest.mark.parametrize("python", [2, 3])
def test_files_made_by_hand_are_read_as_by_pythons_unpickler(python, images, table, numpy114):
    images[1] = np.asfortranarray(images[1])
    images[2] = images[2].astype(">f4")
    data = numpy114([(image, n % 4) for n, image in enumerate(images)], table, python)
    names = data.replace(b"numpy.core.multiarray", b"numpy._core.multiarray")
    assert_same(read(data), pickle.loads(names, encoding="latin-1"))
    assert_same(read(names), pickle.loads(names, encoding="latin-1"))


def test_no_array_is_in_memory_before_it_is_read(tmp_path, numpy114_writer):
    image = np.random.default_rng(2).normal(size=(256, 256)).astype("f4")
    path = tmp_path / "large.gp"
    with path.open("wb") as file:
        writer = numpy114_writer(file.write)
        for n in range(50):
            writer.pair(image + n, n % 2)
        writer.end({0: "9.5", 1: "10"})
    with path.open("rb") as file:
        tracemalloc.start()
        pairs, _ = index_pickle(file, "large.gp")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < image.nbytes
        for n in (49, 0, 7):
            np.testing.assert_array_equal(pairs[n][0].read(file), image + n)


# What nobody should run

MODULE = "gptex_test_of_what_an_import_does"


def reduce_to(function, *arguments, protocol=2):
    """A pickle that calls `function` with `arguments`, hidden among images."""

    class Payload:
        def __reduce__(self):
            return function, arguments

    return pickle.dumps([[[np.zeros((2, 2), "f4"), Payload()]], {0: "9.5"}], protocol)


def touch(path):
    return f"touch {path}"


def hostile(marker):
    """Pickles that make `marker` or do other harm when unpickled, with what their refusal says."""
    command, code = touch(marker), f"open({str(marker)!r}, 'w').close()"
    system = b"cos\nsystem\n"
    argument = pickle.SHORT_BINUNICODE + bytes([len(command)]) + command.encode()
    call = argument + pickle.TUPLE1 + pickle.REDUCE
    reconstruct = b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85C\x01b\x87R"
    dtype = b"cnumpy\ndtype\nX\x02\x00\x00\x00%s\x89\x88\x87R"
    return {
        **{f"os.system, protocol {n}": (reduce_to(os.system, command, protocol=n), "'posix.system'") for n in (2, 3, 4, 5)},
        **{f"eval, protocol {n}": (reduce_to(eval, code, protocol=n), "eval'") for n in (2, 3, 4, 5)},
        "exec": (reduce_to(exec, code), "exec'"),
        "subprocess": (reduce_to(subprocess.Popen, ["touch", str(marker)]), "Popen'"),
        "getattr": (b"\x80\x02cbuiltins\ngetattr\ncos\nsystem\n.", "'builtins.getattr'"),
        "import": (reduce_to(__import__, MODULE), "__import__'"),
        "a module's name alone": (b"\x80\x02c" + MODULE.encode() + b"\nanything\n.", MODULE),
        "dotted name, protocol 4": (b"\x80\x04\x8c\x05numpy\x8c\x11lib.npyio.os.exec\x93.", "'numpy.lib.npyio.os.exec'"),
        "numpy.load": (reduce_to(np.load, str(marker), None, True), "numpy"),
        "numpy.fromfile": (b"\x80\x02cnumpy\nfromfile\nX\x01\x00\x00\x00x\x85R.", "'numpy.fromfile'"),
        "numpy.memmap": (b"\x80\x02cnumpy\nmemmap\nX\x01\x00\x00\x00x\x85R.", "'numpy.memmap'"),
        "numpy.testing": (b"\x80\x02cnumpy.testing._private.utils\nruncstring\n.", "runcstring'"),
        "numpy.core, any": (b"\x80\x02cnumpy.core.multiarray\nfromstring\n.", "'numpy.core.multiarray.fromstring'"),
        "numpy._core, any": (b"\x80\x02cnumpy._core.multiarray\nfromfile\n.", "'numpy._core.multiarray.fromfile'"),
        "numpy.ndarray called": (b"\x80\x02cnumpy\nndarray\nK\x09\x85\x85R.", "calls 'numpy.ndarray' in another way"),
        "other class reconstructed": (
            b"\x80\x02cnumpy.core.multiarray\n_reconstruct\ncnumpy\ndtype\nK\x00\x85C\x01b\x87R.",
            "calls 'numpy.core.multiarray._reconstruct' in another way",
        ),
        "codec": (b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00xX\x03\x00\x00\x00zip\x86R.", "'_codecs.encode' in another way"),
        "objects": (pickle.dumps(np.array([{}, None], object), 2), "numpy type 'O8'"),
        "objects, protocol 5": (pickle.dumps(np.array([{}, None], object), 5), "numpy type 'O8'"),
        "objects, by hand": (b"\x80\x02" + reconstruct + b"(K\x01K\x01\x85" + dtype % b"|O" + b"\x89]tb.", "numpy type '|O'"),
        "list as an array's bytes": (b"\x80\x02" + reconstruct + b"(K\x01K\x01\x85" + dtype % b"f4" + b"\x89]tb.", "state"),
        "structure": (pickle.dumps(np.zeros(2, "f4,O"), 2), "numpy type 'V"),
        "text that numpy would have to decode": (pickle.dumps(np.str_("9.5"), 4), "numpy type 'U3'"),
        "dates": (pickle.dumps(np.zeros(2, "M8[s]"), 4), "numpy type 'M8'"),
        "copyreg": (b"\x80\x02ccopyreg\n_reconstructor\n.", "'copyreg._reconstructor'"),
        "copyreg.add_extension": (reduce_to(copyreg.add_extension, "os", "system", 240), "add_extension'"),
        "INST": (b"\x80\x02(" + argument + b"ios\nsystem\n.", "opcode INST"),
        "OBJ": (b"\x80\x02(" + system + argument + b"o.", "'os.system'"),
        "OBJ of a dtype": (b"\x80\x02(cnumpy\ndtype\no.", "opcode OBJ"),
        "NEWOBJ": (b"\x80\x02" + system + b")\x81.", "'os.system'"),
        "NEWOBJ of a dtype": (b"\x80\x02cnumpy\ndtype\n)\x81.", "opcode NEWOBJ"),
        "NEWOBJ_EX": (b"\x80\x04)}\x92.", "opcode NEWOBJ_EX"),
        "EXT1": (b"\x80\x02\x82\x01)R.", "opcode EXT1"),
        "EXT2": (b"\x80\x02\x83\x01\x00)R.", "opcode EXT2"),
        "EXT4": (b"\x80\x02\x84\x01\x00\x00\x00)R.", "opcode EXT4"),
        "PERSID": (b"\x80\x02Pname\n.", "opcode PERSID"),
        "BINPERSID": (b"\x80\x02X\x01\x00\x00\x00xQ.", "opcode BINPERSID"),
        "out-of-band buffer": (b"\x80\x05\x97.", "opcode NEXT_BUFFER"),
        "sets": (pickle.dumps({1, 2}, 4), "opcode EMPTY_SET"),
        "call of a string": (b"\x80\x02X\x09\x00\x00\x00os.system" + call + b".", "calls what has no name"),
        "call of a list": (b"\x80\x02]" + call + b".", "calls what has no name"),
        "state of a list": (b"\x80\x02]}b.", "state of something"),
        "state of a function": (b"\x80\x02cnumpy\nndarray\n}b.", "state of something"),
        "name that is bytes": (b"\x80\x04C\x02osC\x06system\x93.", "something without a name"),
        "name that is a list": (b"\x80\x04]]\x93.", "something without a name"),
        "name from the memo": (b"\x80\x04\x8c\x02os\x94\x8c\x06system\x94h\x00h\x01\x93" + call + b".", "'os.system'"),
        "endless name": (b"\x80\x02c" + b"a" * 10**6, "aaa"),
        "name with line ends": (b"\x80\x04\x8c\x04o\ns\r\x8c\x06system\x93.", r"o\ns\r.system"),
    }


CASES = sorted(hostile("marker"))


@pytest.mark.parametrize("case", CASES)
def test_what_no_array_needs_is_refused_by_name_and_not_run(case, tmp_path, monkeypatch):
    (tmp_path / f"{MODULE}.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    marker = tmp_path / "marker"
    data, says = hostile(marker)[case]
    before, modules = sorted(tmp_path.iterdir()), set(sys.modules)
    assert says in refusal(data)
    assert sorted(tmp_path.iterdir()) == before
    assert set(sys.modules) == modules


def test_the_payloads_would_run_in_pythons_unpickler(tmp_path):
    marker = tmp_path / "marker"
    pickle.loads(hostile(marker)["os.system, protocol 4"][0])
    assert marker.exists()


def test_a_payload_behind_good_images_is_refused_before_any_image_is_given(images, numpy114, tmp_path):
    data = numpy114([(image, 0) for image in images], {0: "9.5"})
    assert "'os.system'" in refusal(data[:-1] + b"cos\nsystem\nX\x04\x00\x00\x00true\x85R.")


# What is damaged, or meant to be


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "begins with b''"),
        (b"\x80", "damaged"),
        (b"<!DOCTYPE html>", "begins with b'<!'"),
        (b"\x80\x06N.", "protocol 2 to 5"),
        (pickle.dumps([1], 0), "protocol 2 to 5"),
        (pickle.dumps([1], 1), "protocol 2 to 5"),
        (b"\x80\x02\xffN.", r"opcode b'\xff'"),
        (b"\x80\x02N", "cut short"),
        (b"\x80\x02.", "damaged"),
        (b"\x80\x02NN.", "damaged"),
        (b"\x80\x02N.N", "goes on"),
        (b"\x80\x02N..", "goes on"),
        (b"\x80\x02h\x05.", "damaged"),
        (b"\x80\x02\x85.", "damaged"),
        (b"\x80\x02N(\x85.", "damaged"),
        (b"\x80\x02t.", "damaged"),
        (b"\x80\x02Na.", "damaged"),
        (b"\x80\x02e.", "damaged"),
        (b"\x80\x02NNa.", "damaged"),
        (b"\x80\x02}(Nu.", "damaged"),
        (b"\x80\x02}]Ns.", "key"),
        (b"\x80\x02}(K\x01NK\x01Nu.", "key"),
        (b"\x80\x02X\x01\x00\x00\x00\xff.", "damaged"),
        (b"\x80\x02c\xff\n\n.", "damaged"),
        (b"\x80\x02B\xff\xff\xff\xff.", "cut short"),
        (b"\x80\x02T\xff\xff\xff\xff.", "cut short"),
        (b"\x80\x02X\xff\xff\xff\x7f.", "cut short"),
        (b"\x80\x04\x8e" + b"\xff" * 8 + b".", "cut short"),
        (b"\x80\x04\x8d" + struct.pack("<Q", 2**40) + b".", "cut short"),
        (b"\x80\x05\x96" + struct.pack("<Q", 2**63 - 1) + b".", "cut short"),
        (b"\x80\x02cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R(K\x03]tb.", "state"),
        (b"\x80\x02cnumpy.core.multiarray\nscalar\ncnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87RC\x01x\x86R.", "damaged"),
        (
            b"\x80\x05cnumpy.core.numeric\n_frombuffer\n(C\x04\0\0\0\0cnumpy\ndtype\nX\x02\x00\x00\x00f4\x89\x88\x87R"
            b"J\xff\xff\xff\xff\x85X\x01\x00\x00\x00CtR.",
            "impossible shape",
        ),
    ],
)
def test_what_is_no_whole_pickle_is_refused(data, says):
    assert says in refusal(data)


def test_an_array_with_more_axes_than_numpy_knows_is_refused():
    data = pickle.dumps(np.zeros((1, 2), "f4"), 3).replace(b"K\x01K\x02\x86", b"(" + b"K\x01" * 33 + b"t")
    assert "impossible shape" in refusal(data)


def test_deep_nesting_does_not_exhaust_the_stack():
    depth = 200_000
    assert "cut short" in refusal(b"\x80\x02" + b"(" * depth)
    assert index_pickle(io.BytesIO(b"\x80\x02N" + b"\x85" * depth + b"."), "some.gp")[0]
    assert "key" in refusal(b"\x80\x02}N" + b"\x85" * depth + b"Ns.")


def test_a_memo_bomb_stays_small():
    """Each list holds ten times the one before: 10^100 items, were they ever looked at."""
    data = b"\x80\x02]q\x00" + b"".join(b"](" + b"h%c" % n * 10 + b"eq%c" % (n + 1) for n in range(100))
    assert len(index_pickle(io.BytesIO(data + b"\x86" * 100 + b"."), "some.gp")) == 2
    tuples = b"\x80\x02)q\x00" + b"".join(b"(" + b"h%c" % n * 10 + b"tq%c" % (n + 1) for n in range(100))
    assert "key" in refusal(tuples.replace(b")", b"})", 1) + b"}hdNs.")


@pytest.mark.parametrize(
    "opcodes",
    [b"]", b"}", b"N\x94", b"\x8a\xff" + b"\x7f" * 255, b"X" + struct.pack("<I", SHORT) + SHORT * b"x", b"h\x00h\x01R"],
    ids=["lists", "dicts", "memo", "numbers", "strings", "arrays"],
)
def test_a_file_of_nothing_but_opcodes_is_given_up_in_bounded_memory(opcodes):
    head = b"\x80\x04cnumpy.core.multiarray\n_reconstruct\nq\x00cnumpy\nndarray\nK\x00\x85C\x01b\x87q\x01"
    with io.BytesIO(head + opcodes * MAX_OPCODES) as file:
        tracemalloc.start()
        with pytest.raises(DatasetError, match="more than"):
            index_pickle(file, "some.gp")
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert peak < 200e6


@pytest.mark.parametrize("protocol", [2, 5])
def test_a_file_cut_anywhere_is_refused(protocol, images):
    data = pickle.dumps([[[image[:5, :5], 0] for image in images[:2]], {0: "9.5"}], protocol)
    for end in range(len(data)):
        refusal(data[:end])


def test_no_damage_ends_in_anything_but_a_refusal_or_arrays(images):
    """2,000 files with a byte or three changed."""
    rng = np.random.default_rng(3)
    data = [pickle.dumps([[[image[:5, :8], np.int64(0)] for image in images[:2]], {0: "9.5"}], n) for n in (2, 3, 4, 5)]
    refused = 0
    for trial in range(2000):
        broken = bytearray(data[trial % 4])
        for place in rng.integers(0, len(broken), 1 + trial % 3):
            broken[place] = rng.integers(256)
        try:
            read(bytes(broken))
        except (DatasetError, ValueError):  # a ValueError from an array's own bytes
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("stored", [b"x" * 400, b"x" * 4, b"x" * 200])
def test_an_array_with_other_bytes_than_its_shape_says_is_refused(stored):
    data = pickle.dumps(np.zeros((10, 10), "f4"), 3).replace(
        b"B\x90\x01\x00\x00" + bytes(400), b"B%s" % struct.pack("<I", len(stored)) + stored
    )
    file = io.BytesIO(data)
    array = index_pickle(file, "some.gp")
    array.shape = (10, 11)
    with pytest.raises(ValueError, match="for an array of 440 bytes"):
        array.read(file)
