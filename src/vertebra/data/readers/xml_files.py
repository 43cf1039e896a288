"""Reads XML files piece by piece, without declared entities."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.parsers import expat

from vertebra.errors import DataError

CHUNK = 65536  # bytes


def xml_parts(file: Path) -> Iterator[ElementTree.Element]:
    """The elements directly in the root of a file, each forgotten after its turn, so that a file of any size needs little memory.

    Raises:
        DataError: it is no XML, of an unknown encoding, or declares entities, which may be gigabytes or other files.
    """
    check_entities(file)
    depth = 0
    root: ElementTree.Element | None = None
    try:
        for event, element in ElementTree.iterparse(file, events=("start", "end")):
            if event == "start":
                root = element if root is None else root
                depth += 1
                continue
            depth -= 1
            if depth == 1 and root is not None:
                yield element
                root.clear()
    except (ElementTree.ParseError, ValueError, LookupError, OSError) as error:
        raise DataError(f"{file}: damaged or cut off, not XML ({_line(error)}); copy the file again") from None


def check_entities(file: Path) -> None:
    """Refuses a file that declares entities.

    Raises:
        DataError: it does.
    """
    parser = expat.ParserCreate()
    declared: list[str] = []
    started: list[str] = []
    parser.EntityDeclHandler = lambda name, *rest: declared.append(name)
    parser.StartElementHandler = lambda name, attributes: started.append(name)
    try:
        with file.open("rb") as opened:
            while not started and not declared and (content := opened.read(CHUNK)):
                parser.Parse(content, False)
    except (expat.ExpatError, ValueError, LookupError, OSError):
        pass  # reported when the file is read
    if declared:
        raise DataError(f"{file}: it declares XML entities, which are not read; remove its <!DOCTYPE …>")


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:100]
