"""OpenVINO's ``.xml`` file, looked at before OpenVINO reads it; without OpenVINO.

It is data: a graph of operators, whose weights lie in the ``.bin`` file of the same name, and nowhere else. Operators of extensions
would need a library that the user loads; Vertebra loads none.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

from vertebra.inference.metadata import KEY
from vertebra.inference.onnx_file import Damaged

WEIGHTS = re.compile(rb'offset="(\d{1,19})"\s+size="(\d{1,19})"')
DECLARATIONS = (b"<!DOCTYPE", b"<!ENTITY")


def read_graph(content: bytes, weights: int) -> str | None:
    """What a file says of itself, after a look at all of it.

    Args:
        content: of the ``.xml`` file.
        weights: bytes of the ``.bin`` file.

    Raises:
        Damaged: it is none of OpenVINO's, declares entities, or reaches beyond its weights.
    """
    if any(word in content for word in DECLARATIONS):
        raise Damaged("it declares entities, and a file of OpenVINO has none")
    try:
        root = ElementTree.fromstring(content)
    except (ElementTree.ParseError, ValueError, LookupError):  # LookupError: an encoding that Python does not know
        raise Damaged("it is cut off or damaged, or no file of OpenVINO") from None
    if root.tag != "net":
        raise Damaged("it is no file of OpenVINO")
    if any(int(found[1]) + int(found[2]) > weights for found in WEIGHTS.finditer(content)):
        raise Damaged("its .bin file is shorter than it should be; copy both files of one export")
    found = root.find(f"rt_info/{KEY}")
    return None if found is None else found.get("value")
