"""Parses VOC's XML files: any encoding that Python knows, with or without a name space, and never with declared entities."""

from __future__ import annotations

import codecs
import re
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree

from vertebra.annotations.notes import Note
from vertebra.errors import DataError

LARGEST_FILE = 64 * 2**20  # bytes
SPARE = 2  # damaged files that any data set may have
DAMAGED = 0.1  # fraction of files
_BOMS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}
_DECLARATION = re.compile(r"^\s*<\?xml\b[^>]*\?>")
_ENCODING = re.compile(rb"""^\s*<\?xml\b[^>]*?\bencoding\s*=\s*["']([^"'>]{1,40})["']""")
_BARE_AMPERSAND = re.compile(r"&(?!(?:#\d{1,7}|#x[0-9a-fA-F]{1,6}|amp|lt|gt|quot|apos);)")
_ROOT = re.compile(rb"<(?:[\w.-]+:)?annotation[\s>/]")

Parsed = tuple[Path, ElementTree.Element]


def is_voc(file: Path) -> bool:
    """Whether a file starts as one of VOC's."""
    try:
        with file.open("rb") as opened:
            return _ROOT.search(opened.read(4096).replace(b"\0", b"")) is not None
    except OSError:
        return False


def parse_files(files: Sequence[Path], notes: list[Note]) -> list[Parsed]:
    """XML files with their content; a damaged file is left out with a note.

    Raises:
        DataError: more than a tenth of the files (and more than `SPARE`) or more than half of them are damaged.
    """
    parsed: list[Parsed] = []
    damaged: list[str] = []
    repaired: list[str] = []
    first: DataError | None = None
    for file in files:
        try:
            root, fixed = _parse(file)
        except DataError as error:
            first = first or error
            damaged.append(file.name)
            continue
        parsed.append((file, root))
        if fixed:
            repaired.append(file.name)
    count = len(damaged)
    if first and (count > max(SPARE, DAMAGED * len(files)) or 2 * count > len(files)):
        raise DataError(f"{count} of {len(files)} annotation files cannot be read; the first: {first}")
    if damaged:
        notes.append(Note.of("annotation file", "that cannot be read as XML", "left out with its image", damaged))
    if repaired:
        notes.append(Note.of("annotation file", "with a bare '&'", "read as '&amp;'", repaired))
    return parsed


def _parse(file: Path) -> tuple[ElementTree.Element, bool]:
    """The root of a file, without name spaces; and whether bare ampersands were repaired.

    Raises:
        DataError: it is damaged, too large, of an unknown encoding, or declares entities.
    """
    text = _text(file)
    if "<!ENTITY" in text:
        raise DataError(f"{file}: it declares XML entities, which are not read; remove its <!DOCTYPE …>")
    repaired = False
    try:
        root = ElementTree.fromstring(text)
    except (ElementTree.ParseError, ValueError) as error:
        fixed = _BARE_AMPERSAND.sub("&amp;", text)
        repaired = fixed != text
        try:
            root = ElementTree.fromstring(fixed)
        except (ElementTree.ParseError, ValueError):
            raise DataError(f"{file}: damaged or cut off, not XML ({error}); copy the file again") from None
    for element in root.iter():
        if isinstance(element.tag, str) and "}" in element.tag:
            element.tag = element.tag.rpartition("}")[2]
    return root, repaired


def _text(file: Path) -> str:
    """A file's text without its declaration, which ElementTree would obey though the text is decoded."""
    try:
        if file.stat().st_size > LARGEST_FILE:
            raise DataError(f"{file}: more than {LARGEST_FILE >> 20} MB, which no image's annotation is; remove it")
        content = file.read_bytes()
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror})") from None
    declared = _ENCODING.match(content)
    encoding = next((name for mark, name in _BOMS if content.startswith(mark)), None)
    if encoding is None:
        encoding = declared.group(1).decode("ascii", "replace").strip() if declared else "utf-8"
    try:
        text = content.decode(_codec(encoding))
    except LookupError:
        raise DataError(
            f"{file}: it declares the unknown encoding '{encoding}'; write encoding=\"utf-8\" if it is that"
        ) from None
    except (UnicodeError, ValueError) as error:
        raise DataError(f"{file}: not text in {encoding} ({error}); save it as UTF-8") from None
    return _DECLARATION.sub("", text.lstrip("\ufeff"), count=1)


def _codec(encoding: str) -> str:
    """Python's codec for a declared encoding: for those of East Asia the one that has all characters that files use."""
    name = codecs.lookup(encoding).name
    return _WIDER.get(name, name)
