"""Validation of ONNX files (protobuf), without ONNX Runtime and before it.

An ONNX file is data: a graph of operators, none of which reads or writes files. Two things refer to other files: weights in an
external file, at any path, and graphs compiled for one device. Exported files contain neither.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from types import MappingProxyType

from vertebra.runtimes.model_files.metadata import KEY

MODEL, GRAPH, NODE, ATTRIBUTE, TENSOR, SPARSE, FUNCTION, TRAINING, ENTRY = range(9)
INSIDE: Mapping[int, Mapping[int, int]] = MappingProxyType(
    {  # by kind of message, the fields that are messages to descend into
        MODEL: {7: GRAPH, 14: ENTRY, 20: TRAINING, 25: FUNCTION},
        GRAPH: {1: NODE, 5: TENSOR, 15: SPARSE},
        NODE: {5: ATTRIBUTE},
        ATTRIBUTE: {5: TENSOR, 6: GRAPH, 10: TENSOR, 11: GRAPH, 22: SPARSE, 23: SPARSE},
        TENSOR: {},
        SPARSE: {1: TENSOR, 2: TENSOR},
        FUNCTION: {7: NODE, 11: ATTRIBUTE},
        TRAINING: {1: GRAPH, 2: GRAPH},
        ENTRY: {},
    }
)
EXTERNAL_DATA, DATA_LOCATION = 13, 14  # fields of a tensor
OPERATOR = 4  # field of a node
COMPILED = b"EPContext"
VARINT, EIGHT_BYTES, BYTES, FOUR_BYTES = 0, 1, 2, 5  # how a field is written
DAMAGED = "it is truncated or damaged, or not an ONNX file"


class InvalidFile(ValueError):
    """The file is of another kind, damaged, or refers to other files; the message names which."""


def read_model(content: bytes) -> str | None:
    """Validates an ONNX file and returns its metadata, or None.

    Args:
        content: of the file.

    Raises:
        InvalidFile: it is not an ONNX file, or points to other files or to compiled code.
    """
    metadata, graphs = None, 0
    waiting = [(MODEL, memoryview(content))]
    while waiting:
        kind, message = waiting.pop()
        entry: dict[int, bytes] = {}
        for field, value in _fields(message):
            if kind == TENSOR and (field == EXTERNAL_DATA or (field == DATA_LOCATION and value)):
                raise InvalidFile("its weights are in another file, and exported files contain their weights")
            if not isinstance(value, memoryview):
                continue
            if kind == NODE and field == OPERATOR and value == COMPILED:
                raise InvalidFile("it contains a graph compiled for one device, and exported files have none")
            if kind == ENTRY:
                entry[field] = bytes(value)
            graphs += kind == MODEL and field == 7
            inside = INSIDE[kind].get(field)
            if inside is not None:
                waiting.append((inside, value))
        if entry.get(1) == KEY.encode():
            metadata = _decoded(entry.get(2, b""))
    if not graphs:
        raise InvalidFile("it is not an ONNX file")
    return metadata


def _decoded(text: bytes) -> str:
    try:
        return text.decode()
    except UnicodeDecodeError:
        raise InvalidFile("its metadata is damaged") from None


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """The number and value of each field of a message.

    Encodings that runtimes may interpret differently are refused: keys and lengths over 32 bits, numbers over 64 bits, groups, and
    field 0.
    """
    offset, end = 0, len(message)
    while offset < end:
        key, offset = _varint(message, offset, 32)
        field, wire = key >> 3, key & 7
        if field == 0:
            raise InvalidFile(DAMAGED)
        if wire == VARINT:
            value, offset = _varint(message, offset, 64)
            yield field, value
            continue
        if wire == BYTES:
            length, offset = _varint(message, offset, 32)
        elif wire in (EIGHT_BYTES, FOUR_BYTES):
            length = 8 if wire == EIGHT_BYTES else 4
        else:
            raise InvalidFile(DAMAGED)
        if offset + length > end:
            raise InvalidFile(DAMAGED)
        yield field, message[offset : offset + length]
        offset += length


def _varint(message: memoryview, offset: int, bits: int) -> tuple[int, int]:
    """A variable-length integer (7 bits per byte, lowest first) of at most ``bits`` bits, and the offset after it."""
    number = 0
    for shift in range(0, bits, 7):
        if offset >= len(message):
            break
        byte = message[offset]
        offset += 1
        number |= (byte & 127) << shift
        if byte < 128:
            if number >> bits:
                break
            return number, offset
    raise InvalidFile(DAMAGED)
