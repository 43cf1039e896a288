"""ExecuTorch's ``.pte`` file, looked at before ExecuTorch reads it, which ends the whole process where a file is damaged."""

from __future__ import annotations

import struct

from vertebra.inference.onnx_file import Damaged

PROGRAM = b"ET"  # and two digits: how its first part, a flatbuffer, is laid out
HEADER = b"eh00"
METADATA = b'{"format_version": '  # what it begins with
SHORTEST = 32  # bytes before the header's last field


def read_metadata(content: bytes) -> str | None:
    """What a file that Vertebra wrote says of itself: a text in its flatbuffer, its length before it.

    Args:
        content: of the file, whose checksum is right.

    Raises:
        Damaged: the text is none.
    """
    start = content.find(METADATA)
    if start < 4:
        return None
    (length,) = struct.unpack_from("<I", content, start - 4)
    try:
        return content[start : start + length].decode()
    except UnicodeDecodeError:
        raise Damaged("its metadata is damaged") from None


def check_header(content: bytes) -> None:
    """Whether the parts that the header of a file speaks of lie within the file.

    Args:
        content: of the file.

    Raises:
        Damaged: it is no ``.pte`` file, or is cut off.
    """
    if len(content) < SHORTEST or content[4:6] != PROGRAM or content[8:12] != HEADER:
        raise Damaged("it is damaged, or no .pte file")
    root, _, _, length, program, segments = struct.unpack_from("<I4s4sIQQ", content)
    longer = length >= SHORTEST and len(content) >= SHORTEST + 8
    segment_bytes = struct.unpack_from("<Q", content, SHORTEST)[0] if longer else 0
    inside = root < program <= len(content) and (not segments or program <= segments)
    if not inside or segments + segment_bytes > len(content):
        raise Damaged("it is cut off or damaged")
