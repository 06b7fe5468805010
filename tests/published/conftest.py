"""Files as the original software left them, written opcode by opcode with the names of numpy 1.14; and a web server."""

from __future__ import annotations

import pickle
import struct

import numpy as np
import pytest

from .server import Server


def python2_string(data: bytes) -> bytes:
    """What `pickle` of Python 2 writes for a str."""
    if len(data) < 256:
        return pickle.SHORT_BINSTRING + bytes([len(data)]) + data
    return pickle.BINSTRING + struct.pack("<I", len(data)) + data


def python3_bytes(data: bytes) -> bytes:
    """What protocol 3 writes for bytes."""
    if len(data) < 256:
        return pickle.SHORT_BINBYTES + bytes([len(data)]) + data
    return pickle.BINBYTES + struct.pack("<I", len(data)) + data


def python3_text(text: str) -> bytes:
    """What protocols 2 and 3 of Python 3 write for str."""
    return pickle.BINUNICODE + struct.pack("<I", len(text.encode())) + text.encode()


def integer(value: int) -> bytes:
    return pickle.BININT + struct.pack("<i", value)


class Numpy114:
    """Writes `[[[array, label], ...], {label: name}]` as numpy 1.14 did, to a file or a list of parts.

    Python 2 is protocol 2 with all strings as latin-1; Python 3 is protocol 3.
    """

    def __init__(self, write, python: int = 3) -> None:
        self.write = write
        self.text = python3_text if python == 3 else lambda text: python2_string(text.encode())
        self.bytes = python3_bytes if python == 3 else python2_string
        self.memo = 0
        write(pickle.PROTO + bytes([python]))
        write(pickle.EMPTY_LIST + self.put() + pickle.EMPTY_LIST + self.put())

    def put(self) -> bytes:
        self.memo += 1
        return pickle.LONG_BINPUT + struct.pack("<I", self.memo)

    def array(self, array) -> None:
        """`_reconstruct(ndarray, (0,), b"b")`, then the state `(1, shape, dtype, fortran, bytes)`; all of it memoized."""
        put, fortran = self.put, array.flags.f_contiguous and not array.flags.c_contiguous
        byteorder = ">" if array.dtype.byteorder == ">" else "<"
        self.write(b"cnumpy.core.multiarray\n_reconstruct\n" + put() + b"cnumpy\nndarray\n" + put())
        self.write(integer(0) + pickle.TUPLE1 + self.bytes(b"b") + pickle.TUPLE3 + pickle.REDUCE + put())
        shape = b"".join(integer(n) for n in array.shape)
        self.write(pickle.MARK + integer(1) + pickle.MARK + shape + pickle.TUPLE + put())
        self.write(b"cnumpy\ndtype\n" + self.text(array.dtype.str[1:]) + integer(0) + integer(1) + pickle.TUPLE3)
        self.write(pickle.REDUCE + put() + pickle.MARK + integer(3) + self.text(byteorder) + 3 * pickle.NONE)
        self.write(integer(-1) + integer(-1) + integer(0) + pickle.TUPLE + pickle.BUILD)
        self.write(pickle.NEWTRUE if fortran else pickle.NEWFALSE)
        self.write(self.bytes(array.tobytes(order="A")) + put() + pickle.TUPLE + put() + pickle.BUILD)

    def pair(self, array, label: int) -> None:
        self.write(pickle.EMPTY_LIST + self.put() + pickle.MARK)
        self.array(array)
        self.write(integer(label) + pickle.APPENDS + pickle.APPEND)

    def end(self, table) -> None:
        self.write(pickle.APPEND + pickle.EMPTY_DICT + pickle.MARK)
        for label, name in table.items():
            self.write(integer(label) + self.text(name))
        self.write(pickle.SETITEMS + pickle.APPEND + pickle.STOP)


@pytest.fixture
def numpy114():
    """A function of `pairs` and `table` that gives the bytes of such a file."""

    def dump(pairs, table, python=3):
        parts = []
        writer = Numpy114(parts.append, python)
        for array, label in pairs:
            writer.pair(array, label)
        writer.end(table)
        return b"".join(parts)

    return dump


@pytest.fixture
def numpy114_writer():
    return Numpy114


@pytest.fixture
def images():
    """Eight images of 24 × 16 pixels, float32."""
    return list(np.random.default_rng(0).normal(size=(8, 24, 16)).astype("float32"))


@pytest.fixture
def table():
    return {0: "9.5-80", 1: "10-80", 2: "9.5-140", 3: "10-140"}


@pytest.fixture
def server(monkeypatch):
    """A web server that misbehaves on request."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server() as running:
        yield running
