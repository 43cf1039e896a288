"""The arrays of numbers in a ``.mat`` file of MATLAB, version 4 or 5 to 7.

Files of version 5 are elements, each with a tag of its type and size; a matrix is an element of elements: its flags, sizes and
name, then its numbers, or the matrices of its cells or fields. An element is read only within the one that holds it. See
MathWorks, MAT-File Format, R2024.
"""

from __future__ import annotations

import math
import struct
import zlib
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

MAX_NUMBERS = 178_956_970  # of a mask, as for images
MAX_BYTES = 1 << 28  # of a packed variable
DEEPEST = 4  # structures within structures
_HEADER = 128
_TYPES = {1: "i1", 2: "u1", 3: "i2", 4: "u2", 5: "i4", 6: "u4", 7: "f4", 9: "f8", 12: "i8", 13: "u8"}
_MATRIX, _PACKED = 14, 15
_CELL, _STRUCTURE, _OBJECT, _FIRST_NUMBER, _LAST_NUMBER = 1, 2, 3, 6, 15  # kinds of matrices
_OLD_TYPES = ("f8", "f4", "i4", "i2", "u2", "u1")  # of version 4

Arrays = Iterator[tuple[str, np.ndarray]]


class _Element(NamedTuple):
    """A part of a file: the number of its type, and its bytes."""

    type: int
    content: memoryview


def is_hdf5(content: bytes) -> bool:
    """Whether a file is of version 7.3, which is HDF5."""
    return b"MATLAB 7.3" in content[:_HEADER] or content.startswith(b"\x89HDF")


def mat_arrays(content: bytes) -> Arrays:
    """The arrays of real numbers in a file, with their names: of fields with those of their structures, ``mask.values``.

    Of cells and structures those with one element are entered, `DEEPEST` deep. Numbers have the type that they are stored in.

    Raises:
        ValueError: the file is damaged, or a variable is too large.
    """
    if len(content) < 20:
        raise ValueError("cut off in its header")
    if 0 in content[:4]:
        yield from _version_4(memoryview(content))
        return
    if len(content) < _HEADER or content[126:128] not in (b"IM", b"MI"):
        raise ValueError("no header of MATLAB")
    order = "<" if content[126:128] == b"IM" else ">"
    for element in _elements(memoryview(content)[_HEADER:], order):
        variable = element
        if element.type == _PACKED:
            variable = next(_elements(memoryview(_unpacked(element.content)), order), element)
        if variable.type == _MATRIX:
            yield from _matrix(variable.content, order, "", 0)


def _elements(content: memoryview, order: str) -> Iterator[_Element]:
    """The elements that follow one another; a small one has its size and type in four bytes, and at most four bytes."""
    at = 0
    while at + 8 <= len(content):
        kind, size = struct.unpack_from(order + "II", content, at)
        start = at + 8
        if kind >> 16:
            kind, size, start = kind & 0xFFFF, kind >> 16, at + 4
            if size > 4:
                raise ValueError("a small element of more than 4 bytes")
        end = start + size
        if end > len(content):
            raise ValueError("cut off in an element")
        yield _Element(kind, content[start:end])
        at = end if kind == _PACKED else at + 8 if start == at + 4 else end + -size % 8


def _unpacked(content: memoryview) -> bytes:
    stream = zlib.decompressobj()
    try:
        unpacked = stream.decompress(content, MAX_BYTES)
    except zlib.error as error:
        raise ValueError(str(error)) from None
    if not stream.eof:
        raise ValueError(f"a variable that is cut off, or larger than {MAX_BYTES >> 20} MB")
    return unpacked


def _matrix(content: memoryview, order: str, above: str, depth: int) -> Arrays:
    """The arrays of a matrix, whose name follows those of the structures above."""
    parts = _elements(content, order)
    flags, sizes, named = next(parts, None), next(parts, None), next(parts, None)
    if flags is None or sizes is None or named is None:
        return  # the empty matrix of an empty cell
    kind = int(_numbers(flags, order)[0]) & 0xFF if len(flags.content) >= 8 else 0
    shape = tuple(_numbers(sizes, order).tolist())
    if any(side < 0 for side in shape):
        raise ValueError("a matrix of a negative size")
    name = ".".join(filter(None, (above, bytes(named.content).decode("latin-1"))))
    if _FIRST_NUMBER <= kind <= _LAST_NUMBER:
        yield from _array(next(parts, None), shape, order, name)
    elif math.prod(shape) == 1 and depth < DEEPEST:
        yield from _inner(parts, kind, order, name, depth)


def _inner(parts: Iterator[_Element], kind: int, order: str, name: str, depth: int) -> Arrays:
    """The arrays of a cell, or of the fields of a structure."""
    if kind == _CELL:
        names: list[str] = [""]
    elif kind in (_STRUCTURE, _OBJECT):
        if kind == _OBJECT:
            next(parts, None)  # the name of its class
        length, fields = next(parts, None), next(parts, None)
        numbers = np.zeros(0, dtype=np.int64) if length is None else _numbers(length, order)
        if fields is None or len(numbers) != 1 or numbers[0] <= 0:
            raise ValueError("a structure without names of its fields")
        text, step = bytes(fields.content), int(numbers[0])
        names = [text[at : at + step].partition(b"\0")[0].decode("latin-1") for at in range(0, len(text), step)]
    else:
        return
    for field, part in zip(names, parts, strict=False):
        if part.type == _MATRIX:
            yield from _matrix(part.content, order, ".".join(filter(None, (name, field))), depth + 1)


def _array(part: _Element | None, shape: tuple[int, ...], order: str, name: str) -> Arrays:
    if part is None:
        raise ValueError("a matrix without numbers")
    values = _numbers(part, order)
    if math.prod(shape) != len(values):
        raise ValueError(f"{len(values)} numbers in a matrix of {shape}")
    if len(values) > MAX_NUMBERS:
        raise ValueError(f"more than {MAX_NUMBERS} numbers in a mask")
    yield name, values.reshape(shape, order="F").squeeze()


def _numbers(part: _Element, order: str) -> np.ndarray:
    if part.type not in _TYPES:
        raise ValueError(f"numbers of an unknown type {part.type}")
    return _values(part.content, order + _TYPES[part.type])


def _values(content: memoryview, stored: str) -> np.ndarray:
    """Numbers of a type, in the byte order of this machine."""
    kind = np.dtype(stored)
    if len(content) % kind.itemsize:
        raise ValueError("cut off in its numbers")
    return np.frombuffer(content, kind).astype(kind.newbyteorder("="), copy=False)


def _version_4(content: memoryview) -> Arrays:
    """The arrays of a file of version 4: for each a header of its type, height and width, and length of its name."""
    at = 0
    while at < len(content):
        if at + 20 > len(content):
            raise ValueError("cut off in a header")
        order = "<" if 0 <= struct.unpack_from("<i", content, at)[0] < 1000 else ">"
        code, height, width, imaginary, letters = struct.unpack_from(order + "5i", content, at)
        stored, kind = code % 100 // 10, code % 10
        if not 0 <= code < 5000 or stored >= len(_OLD_TYPES) or min(height, width, letters) < 0:
            raise ValueError("no header of MATLAB 4")
        name = bytes(content[at + 20 : at + 20 + letters]).partition(b"\0")[0].decode("latin-1")
        start, size = at + 20 + letters, height * width * np.dtype(_OLD_TYPES[stored]).itemsize
        at = start + size * (2 if imaginary else 1)
        if at > len(content):
            raise ValueError("cut off in its numbers")
        if kind == 0:
            values = _values(content[start : start + size], order + _OLD_TYPES[stored])
            yield name, values.reshape((height, width), order="F").squeeze()
