"""Validation of OpenVINO's ``.xml`` files, without OpenVINO and before it.

The file is data: a graph of operators, whose weights are in the ``.bin`` file of the same name and nowhere else. Operators of
extensions would need a library that the user loads; Vertebra loads none.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vertebra.inference.metadata import KEY
from vertebra.inference.onnx_file import InvalidFile

WEIGHTS = re.compile(rb'offset="(\d{1,19})"\s+size="(\d{1,19})"')
DECLARATIONS = (b"<!DOCTYPE", b"<!ENTITY")


def read_graph(content: bytes, weights: int) -> str | None:
    """Validates an ``.xml`` file and returns its metadata, or None.

    Args:
        content: of the ``.xml`` file.
        weights: bytes of the ``.bin`` file.

    Raises:
        InvalidFile: it is not OpenVINO's, declares entities, or refers to bytes beyond the end of its weights.
    """
    if any(word in content for word in DECLARATIONS):
        raise InvalidFile("it declares entities, and OpenVINO files have none")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: an encoding that Python does not know
        raise InvalidFile("it is truncated or damaged, or not an OpenVINO file") from None
    if root.tag != "net":
        raise InvalidFile("it is not an OpenVINO file")
    if any(int(found[1]) + int(found[2]) > weights for found in WEIGHTS.finditer(content)):
        raise InvalidFile("its .bin file is shorter than it should be; copy both files of one export")
    found = root.find(f"rt_info/{KEY}")
    return None if found is None else found.get("value")
