"""Validation of ``.pte`` files before ExecuTorch opens them: it aborts the process on a damaged file."""

from __future__ import annotations

import struct

from vertebra.runtimes.model_files.onnx_file import InvalidFile

PROGRAM = b"ET"  # followed by two digits, the version of the flatbuffer's schema
HEADER = b"eh00"
METADATA = b'{"format_version": '  # the first bytes of the JSON
SHORTEST = 32  # bytes before the last field of the header


def read_metadata(content: bytes) -> str | None:
    """The metadata of a file that Vertebra wrote: a string in its flatbuffer, preceded by its length.

    Args:
        content: of the file, whose checksum was verified.

    Raises:
        InvalidFile: the string is damaged.
    """
    start = content.find(METADATA)
    if start < 4:
        return None
    (length,) = struct.unpack_from("<I", content, start - 4)
    try:
        return content[start : start + length].decode()
    except UnicodeDecodeError:
        raise InvalidFile("its metadata is damaged") from None


def check_header(content: bytes) -> None:
    """Checks that the program and the segments named in the header are within the file.

    Args:
        content: of the file.

    Raises:
        InvalidFile: it is not a ``.pte`` file, or is truncated.
    """
    if len(content) < SHORTEST or content[4:6] != PROGRAM or content[8:12] != HEADER:
        raise InvalidFile("it is damaged, or not a .pte file")
    root, _, _, length, program, segments = struct.unpack_from("<I4s4sIQQ", content)
    longer = length >= SHORTEST and len(content) >= SHORTEST + 8
    segment_bytes = struct.unpack_from("<Q", content, SHORTEST)[0] if longer else 0
    inside = root < program <= len(content) and (not segments or program <= segments)
    if not inside or segments + segment_bytes > len(content):
        raise InvalidFile("it is truncated or damaged")
