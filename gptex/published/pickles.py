"""Pickles read without being run: Python's unpickler never sees them.

A pickle is a program for a small stack machine, and a hostile one has it call what it likes. The machine here knows the
opcodes of lists, tuples, dicts, strings, numbers and numpy arrays and no others, and the few names it accepts are words to
it: it looks nothing up and calls nothing. Arrays are not built either. Bytes longer than a name stay in the file, and what
comes out is an index of it: a file of any size takes little memory, and its arrays are read one at a time from their places.

The opcodes are described in the standard library's `pickletools`; numpy writes an array as

    numpy.core.multiarray._reconstruct(numpy.ndarray, (0,), b"b"), then its state (1, shape, dtype, is Fortran, bytes)
    numpy.core.numeric._frombuffer(bytes, dtype, shape, order)     from protocol 5 on

where numpy 2 says `numpy._core`, and Python 3 writes bytes for protocol 2 as `_codecs.encode(text, "latin1")`.
"""

from __future__ import annotations

import math
import os
import pickle
import pickletools
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import IO, Any, Literal, NamedTuple
from zipfile import ZipExtFile

import numpy as np
import numpy.typing as npt

from gptex.errors import DatasetError

PROTOCOLS = range(2, 6)
SHORT = 128  # bytes: a longer string is data and stays in the file
MAX_OPCODES = 500_000  # an array takes some fifty; the index of the worst file stays under 200 MB
MAX_AXES = 32  # of numpy 1
CHUNK = 2**20

NAMES = {
    "_codecs.encode",
    "numpy.core.multiarray._reconstruct",
    "numpy.core.multiarray.scalar",
    "numpy.core.numeric._frombuffer",
    "numpy.dtype",
    "numpy.ndarray",
}
TYPES = re.compile(r"f[248]|[iu][1248]")  # no objects, no structures, no text
OPCODES = {info.code.encode("latin-1"): info.name for info in pickletools.opcodes}


class Span(NamedTuple):
    """Bytes that stay in the file; `text` is UTF-8 of characters that stand for one byte each."""

    offset: int
    length: int
    text: bool


class Name(str):
    """What a pickle calls a function or a class by."""

    __slots__ = ()


@dataclass(eq=False, slots=True)
class Type:
    """A numpy dtype, made in two steps as pickles do."""

    code: str
    byteorder: str = "="

    @property
    def dtype(self) -> np.dtype[Any]:
        """As numpy has it."""
        return np.dtype(self.byteorder + self.code)


@dataclass(eq=False, slots=True)
class StoredArray:
    """An array's place in a pickle, and how to read it; made in two steps as pickles do.

    Attributes
    ----------
    shape : tuple of int
    dtype : dtype
        As stored: it may be big-endian.
    order : {"C", "F"}
    data : bytes, str or Span
        The bytes if they are few, else their place.
    """

    shape: tuple[int, ...] = ()
    dtype: np.dtype[Any] = np.dtype("f4")  # noqa: RUF009 (a dtype does not change)
    order: Literal["C", "F"] = "C"
    data: bytes | str | Span = b""

    def read(self, file: IO[bytes]) -> npt.NDArray[Any]:
        """The array, in C order and the machine's byte order; it may be read-only.

        Raises
        ------
        ValueError
            If its bytes are not as many as its shape says.
        """
        size, data = math.prod(self.shape) * self.dtype.itemsize, self.data
        if isinstance(data, Span):
            if data.length > size * (1 + data.text):  # a byte takes two at most in UTF-8
                raise ValueError(f"{data.length} bytes are stored for an array of {size} bytes")
            file.seek(data.offset)
            raw = file.read(data.length)
            data = raw.decode() if data.text else raw
        if isinstance(data, str):
            data = data.encode("latin-1")
        if len(data) != size:
            raise ValueError(f"{len(data)} bytes are stored for an array of {size} bytes")
        array = np.frombuffer(data, self.dtype).reshape(self.shape, order=self.order)
        return np.ascontiguousarray(array, self.dtype.newbyteorder("="))


def index_pickle(file: IO[bytes], name: str) -> Any:
    """What a pickle holds: lists, tuples, dicts, strings and numbers, and in place of each array a `StoredArray`.

    Parameters
    ----------
    file : binary file
        Seekable. A member of a zip archive is read to its end, so that its checksum is checked.
    name : str
        Of the file, for messages.

    Raises
    ------
    DatasetError
        If it asks for anything but numpy arrays, or is damaged, cut short, or no pickle of protocol 2 to 5. Nothing of it is
        run in any case.
    """
    machine = _Machine(file, name)
    try:
        return machine.run()
    except (IndexError, KeyError, ValueError) as error:  # of the stack, of the memo, of strings and numbers
        raise machine.wrong("is damaged") from error


class _Machine:
    """The stack machine. Its values are plain ones, `Name`, `Type`, `StoredArray` and `Span`."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self.file = file
        self.name = name
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self) -> Any:
        """Walk the opcodes to the end of the file; what is left on the stack."""
        head = self.file.read(2)
        if head[:1] != pickle.PROTO or head[1] not in PROTOCOLS:
            raise DatasetError(f"{self.name} is no pickle of protocol 2 to 5: it begins with {head!r}")
        for _ in range(MAX_OPCODES):
            opcode = self.take(1)
            if opcode == pickle.STOP:
                break
            if opcode not in ACTIONS:
                raise self.refusal(f"uses the pickle opcode {OPCODES.get(opcode, opcode)}")
            ACTIONS[opcode](self)
        else:
            raise self.wrong(f"is a pickle of more than {MAX_OPCODES} opcodes")
        (value,) = self.stack
        if self.file.read(1):
            raise self.wrong("goes on after the pickle's end")
        return value

    def wrong(self, what: str) -> DatasetError:
        """An error that names the file and the place."""
        return DatasetError(f"{self.name} {what} (before byte {self.file.tell()})")

    def refusal(self, what: str) -> DatasetError:
        """An error that says what a pickle wants, which no array or label does."""
        return self.wrong(f"{what}, which arrays and labels do not need: it may be malicious, and nothing of it was run")

    # -- the file

    def take(self, count: int) -> bytes:
        """The next bytes."""
        data = self.file.read(count)
        if len(data) < count:
            raise self.wrong("is cut short")
        return data

    def number(self, form: str) -> Any:
        """The next number, its form as in `struct`."""
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def string(self, form: str, encoding: str | None) -> Any:
        """The next string after its length: str with an encoding, else bytes, or its place if it is long."""
        length = self.number(form)
        if length > SHORT:
            return self.skip(length, text=encoding == "utf-8")
        data = self.take(length)
        return data.decode(encoding) if encoding else data

    def skip(self, length: int, text: bool) -> Span:
        """Pass over bytes."""
        span = Span(self.file.tell(), length, text)
        if isinstance(self.file, ZipExtFile):  # sought in, it would not check its checksum
            while length > CHUNK and self.file.read(CHUNK):
                length -= CHUNK
            self.take(length)
        else:
            if self.file.seek(0, os.SEEK_END) < span.offset + length:
                raise self.wrong("is cut short")
            self.file.seek(span.offset + length)
        return span

    # -- the stack

    def push(self, value: Any) -> None:
        """Put a value on the stack."""
        self.stack.append(value)

    def pop(self, count: int) -> list[Any]:
        """Take values off the stack, the first that was put there first."""
        first = len(self.stack) - count
        if first < (self.marks[-1] if self.marks else 0):
            raise IndexError(first)
        values = self.stack[first:]
        del self.stack[first:]
        return values

    def pop_mark(self) -> list[Any]:
        """Take off the values since the last mark."""
        mark = self.marks.pop()
        values = self.stack[mark:]
        del self.stack[mark:]
        return values

    def append(self, values: list[Any]) -> None:
        """Lengthen the list on top of the stack."""
        if type(self.stack[-1]) is not list:
            raise self.wrong("is damaged")
        self.stack[-1].extend(values)

    def set_items(self, values: list[Any]) -> None:
        """Put keys and their values into the dict on top of the stack; only keys that are cheap to compare."""
        table = self.stack[-1]
        if type(table) is not dict or len(values) % 2:
            raise self.wrong("is damaged")
        for key, value in zip(values[::2], values[1::2], strict=True):
            if type(key) not in (int, str) or key in table:
                raise self.wrong("has a dict with a key that is no number or name, or stands twice")
            table[key] = value

    # -- names and calls

    def look_up(self, module: Any, attribute: Any) -> None:
        """Push a name, if it is one of those that arrays need."""
        name = f"{module}.{attribute}" if type(module) is type(attribute) is str else "something without a name"
        known = re.sub(r"^numpy\._core\b", "numpy.core", name)
        if known not in NAMES:
            raise self.refusal(f"asks for {name[:SHORT]!r}")
        self.push(Name(known))

    def global_name(self) -> None:
        """A name on two lines."""
        lines = [self.file.readline(SHORT).decode() for _ in range(2)]
        self.look_up(*(line.removesuffix("\n") for line in lines))

    def call(self) -> None:
        """Push the description of what a call would give."""
        match self.pop(2):
            case [Name("numpy.core.multiarray._reconstruct"), (Name("numpy.ndarray"), _, _)]:
                value: Any = StoredArray()
            case [
                Name("numpy.core.numeric._frombuffer"),
                ((bytes() | Span()) as data, Type() as kind, tuple(shape), ("C" | "F") as order),
            ]:
                value = self.array(StoredArray(), shape, kind, order, data)
            case [Name("numpy.dtype"), (str(code), _, _)]:
                if not TYPES.fullmatch(code):
                    raise self.refusal(f"has values of the numpy type {code[:SHORT]!r}")
                value = Type(code)
            case [Name("numpy.core.multiarray.scalar"), (Type() as kind, (bytes() | str()) as data)]:
                value = StoredArray((1,), kind.dtype, "C", data).read(self.file).item()
            case [Name("_codecs.encode"), (str(text), "latin1")]:
                value = text.encode("latin-1")
            case [Name("_codecs.encode"), (Span(text=True) as span, "latin1")]:
                value = span
            case [Name() as name, _]:
                raise self.refusal(f"calls {str(name)!r} in another way")
            case _:
                raise self.refusal("calls what has no name")
        self.push(value)

    def build(self) -> None:
        """Complete the description of a dtype or an array by its state."""
        target, state = self.pop(2)
        match target, state:
            case Type(), (_, ("<" | ">" | "|") as byteorder, None, None, None, _, _, _):
                target.byteorder = byteorder
            case StoredArray(), (_, tuple(shape), Type() as kind, int(fortran), (bytes() | str() | Span()) as data):
                self.array(target, shape, kind, "F" if fortran else "C", data)
            case _:
                raise self.refusal("sets the state of something")
        self.push(target)

    def array(self, array: StoredArray, shape: tuple[Any, ...], kind: Type, order: Any, data: Any) -> StoredArray:
        """Fill in an array's description."""
        if len(shape) > MAX_AXES or not all(type(length) is int and 0 < length < 2**63 for length in shape):
            raise self.wrong("has an array with an impossible shape")
        array.shape, array.dtype, array.order, array.data = shape, kind.dtype, order, data
        return array


ACTIONS: dict[bytes, Callable[[_Machine], None]] = {
    pickle.FRAME: lambda m: m.number("<Q"),
    # numbers and constants
    pickle.NONE: lambda m: m.push(None),
    pickle.NEWTRUE: lambda m: m.push(True),
    pickle.NEWFALSE: lambda m: m.push(False),
    pickle.BININT: lambda m: m.push(m.number("<i")),
    pickle.BININT1: lambda m: m.push(m.number("<B")),
    pickle.BININT2: lambda m: m.push(m.number("<H")),
    pickle.LONG1: lambda m: m.push(int.from_bytes(m.take(m.number("<B")), "little", signed=True)),
    pickle.BINFLOAT: lambda m: m.push(m.number(">d")),
    # strings
    pickle.SHORT_BINSTRING: lambda m: m.push(m.string("<B", "latin-1")),
    pickle.BINSTRING: lambda m: m.push(m.string("<I", "latin-1")),
    pickle.SHORT_BINBYTES: lambda m: m.push(m.string("<B", None)),
    pickle.BINBYTES: lambda m: m.push(m.string("<I", None)),
    pickle.BINBYTES8: lambda m: m.push(m.string("<Q", None)),
    pickle.BYTEARRAY8: lambda m: m.push(m.string("<Q", None)),
    pickle.SHORT_BINUNICODE: lambda m: m.push(m.string("<B", "utf-8")),
    pickle.BINUNICODE: lambda m: m.push(m.string("<I", "utf-8")),
    pickle.BINUNICODE8: lambda m: m.push(m.string("<Q", "utf-8")),
    # lists, tuples, dicts
    pickle.MARK: lambda m: m.marks.append(len(m.stack)),
    pickle.EMPTY_LIST: lambda m: m.push([]),
    pickle.EMPTY_TUPLE: lambda m: m.push(()),
    pickle.EMPTY_DICT: lambda m: m.push({}),
    pickle.TUPLE: lambda m: m.push(tuple(m.pop_mark())),
    pickle.TUPLE1: lambda m: m.push(tuple(m.pop(1))),
    pickle.TUPLE2: lambda m: m.push(tuple(m.pop(2))),
    pickle.TUPLE3: lambda m: m.push(tuple(m.pop(3))),
    pickle.APPEND: lambda m: m.append(m.pop(1)),
    pickle.APPENDS: lambda m: m.append(m.pop_mark()),
    pickle.SETITEM: lambda m: m.set_items(m.pop(2)),
    pickle.SETITEMS: lambda m: m.set_items(m.pop_mark()),
    # the memo
    pickle.BINPUT: lambda m: m.memo.update({m.number("<B"): m.stack[-1]}),
    pickle.LONG_BINPUT: lambda m: m.memo.update({m.number("<I"): m.stack[-1]}),
    pickle.MEMOIZE: lambda m: m.memo.update({len(m.memo): m.stack[-1]}),
    pickle.BINGET: lambda m: m.push(m.memo[m.number("<B")]),
    pickle.LONG_BINGET: lambda m: m.push(m.memo[m.number("<I")]),
    # names and calls
    pickle.GLOBAL: _Machine.global_name,
    pickle.STACK_GLOBAL: lambda m: m.look_up(*m.pop(2)),
    pickle.REDUCE: _Machine.call,
    pickle.BUILD: _Machine.build,
}
