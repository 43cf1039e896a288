"""Validation of OpenVINO's ``.xml`` files, without OpenVINO and before it.

The file is data: a graph of operators, whose weights are in the ``.bin`` file of the same name and nowhere else. Operators of
extensions would need a library that the user loads; Vertebra loads none.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vertebra.runtimes.model_files.metadata import KEY
from vertebra.runtimes.model_files.onnx_file import InvalidFile

DECLARATIONS = ("<!DOCTYPE", "<!ENTITY")
ENCODING = re.compile(r"""\s*<\?xml[^>]*\sencoding\s*=\s*["'](?!utf-8["'])""", re.IGNORECASE)
NUMBER = re.compile("[0-9]+")
MAX_DIGITS = 19  # of an offset or size in a file


def read_graph(content: bytes, weights: int) -> str | None:
    """Validates an ``.xml`` file and returns its metadata, or None.

    Args:
        content: of the ``.xml`` file.
        weights: bytes of the ``.bin`` file.

    Raises:
        InvalidFile: it is not OpenVINO's, declares entities, or refers to bytes beyond the end of its weights.
    """
    text = _text(content)
    if any(word in text for word in DECLARATIONS):
        raise InvalidFile("it declares entities, and OpenVINO files have none")
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError):
        raise InvalidFile("it is truncated or damaged, or not an OpenVINO file") from None
    if root.tag != "net":
        raise InvalidFile("it is not an OpenVINO file")
    for element in root.iter():
        _check_range(element.get("offset"), element.get("size"), weights)
    entry = root.find(f"rt_info/{KEY}")
    return None if entry is None else entry.get("value")


def _text(content: bytes) -> str:
    """The file as text. OpenVINO recognizes other encodings, in which declarations have other bytes."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text or ENCODING.match(text):
        raise InvalidFile("it is damaged, or is not UTF-8, as OpenVINO files are")
    return text


def _check_range(offset: str | None, size: str | None, weights: int) -> None:
    """Checks that weights are within their file; what has no offset and size has no weights."""
    if offset is None or size is None:
        return
    if not NUMBER.fullmatch(offset) or not NUMBER.fullmatch(size):
        raise InvalidFile(f"its weights are at offset={offset[:20]!r} size={size[:20]!r}, which is not a valid range")
    if max(len(offset), len(size)) > MAX_DIGITS or int(offset) + int(size) > weights:
        raise InvalidFile("its .bin file is shorter than it should be; copy both files of one export")
