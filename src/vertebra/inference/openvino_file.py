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


def check_graph(content: bytes, weights: int) -> None:
    """Whether a file can be given to OpenVINO.

    Args:
        content: of the ``.xml`` file.
        weights: bytes of the ``.bin`` file.

    Raises:
        Damaged: it is none of OpenVINO's, declares entities, or reaches beyond its weights.
    """
    start = content[:400].lstrip()
    if not start.startswith((b"<?xml", b"<net")) or b"<net" not in start or b"</net>" not in content[-200_000:]:
        raise Damaged("it is cut off or damaged, or no file of OpenVINO")
    if any(word in content for word in DECLARATIONS):
        raise Damaged("it declares entities, and a file of OpenVINO has none")
    if any(int(found[1]) + int(found[2]) > weights for found in WEIGHTS.finditer(content)):
        raise Damaged("its .bin file is shorter than it should be; copy both files of one export")


def read_graph(content: bytes) -> str | None:
    """What a file says of itself.

    Raises:
        Damaged: it is no XML.
    """
    try:
        found = ElementTree.fromstring(content).find(f"rt_info/{KEY}")
    except (ElementTree.ParseError, ValueError):
        raise Damaged("it is damaged, or no file of OpenVINO") from None
    return None if found is None else found.get("value")
