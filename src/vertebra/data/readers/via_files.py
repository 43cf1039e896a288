"""The files of VGG Image Annotator (VIA): projects, and annotations as JSON or CSV."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from vertebra.annotations.notes import Note
from vertebra.data.readers.files import lines_of
from vertebra.data.readers.tool_files import any_file, files_below, read_json, split_in
from vertebra.data.readers.tool_objects import text
from vertebra.data.readers.via3_files import is_via3, is_via3_document, via3_images
from vertebra.errors import DataError

_COLUMNS = (b"filename", b"region_shape_attributes", b"region_attributes")

ViaEntry = tuple[str, Mapping[str, Any], list[tuple[Any, Any]]]


@dataclass
class ViaFile:
    """One file.

    Attributes:
        images: name, attributes of the image, and its regions as pairs of shape and attributes.
        options: names of an attribute's options, by attribute and id.
        notes: about what is left out.
    """

    images: list[ViaEntry]
    options: Mapping[str, Mapping[str, str]]
    notes: list[Note] = field(default_factory=list)


def via_files(path: Path, notes: list[Note]) -> list[Path]:
    """The files to read: of one folder and split a project, or else JSON, or else CSV, since they hold the same."""
    json_files = [file for file in files_below(path, ".json") if any_file(file, ".json", is_json)]
    csv_files = [file for file in files_below(path, ".csv") if any_file(file, ".csv", is_csv)]
    ranked = [(0 if any_file(file, ".json", _is_project) else 1, file) for file in json_files]
    ranked += [(2, file) for file in csv_files]
    best: dict[tuple[Path, str], int] = {}
    for rank, file in ranked:
        key = (file.parent, split_in(file.name, last=True))
        best[key] = min(rank, best.get(key, rank))
    chosen = [file for rank, file in ranked if best[file.parent, split_in(file.name, last=True)] == rank]
    others = [file.name for _, file in ranked if file not in chosen]
    if others:
        notes.append(Note.of("file", "that a project or JSON file beside it repeats", "left aside", others))
    return sorted(chosen)


def _is_project(content: bytes) -> bool:
    return b'"_via_img_metadata"' in content or is_via3(content)


def is_json(content: bytes) -> bool:
    if not content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{"):
        return False
    return _is_project(content) or all(
        re.search(rb'"%s"\s*:' % key, content) for key in (b"filename", b"size", b"regions", b"file_attributes")
    )


def is_csv(content: bytes) -> bool:
    header = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0]
    return all(column in header for column in _COLUMNS)


def read_via(file: Path) -> ViaFile | None:
    if file.suffix.lower() == ".csv":
        return ViaFile(list(_rows(file)), {})
    document = read_json(file)
    if not isinstance(document, dict):
        return None
    if is_via3_document(document):
        images, notes = via3_images(document, file)
        return ViaFile(list(images), {}, notes)
    entries, options = document, {}
    if "_via_img_metadata" in document:
        entries, options = document["_via_img_metadata"], _options(document.get("_via_attributes"))
    if not isinstance(entries, dict):
        raise DataError(f"{file}: damaged, its list of images is no object in braces; export it again")
    return ViaFile(_entries(entries, file), options)


def _entries(entries: Mapping[str, Any], file: Path) -> list[ViaEntry]:
    """The images of a project or file of VIA 1 or 2."""
    images: list[ViaEntry] = []
    for entry in entries.values():
        if not isinstance(entry, dict) or not text(entry.get("filename")):
            raise DataError(f"{file}: damaged, an image has no 'filename'; export it again")
        regions = entry.get("regions") or []
        listed = (
            list(regions.values()) if isinstance(regions, dict) else regions if isinstance(regions, list) else [None]
        )
        pairs = [
            (one.get("shape_attributes"), one.get("region_attributes")) if isinstance(one, dict) else (None, None)
            for one in listed
        ]
        attributes = entry.get("file_attributes")
        images.append((text(entry["filename"]), attributes if isinstance(attributes, dict) else {}, pairs))
    return images


def _options(attributes: Any) -> dict[str, dict[str, str]]:
    """The names of the options of region attributes, by attribute and id, as a project has them."""
    regions = attributes.get("region") if isinstance(attributes, dict) else None
    names: dict[str, dict[str, str]] = {}
    for name, entry in regions.items() if isinstance(regions, dict) else ():
        options = entry.get("options") if isinstance(entry, dict) else None
        if isinstance(options, dict):
            names[name] = {key: text(value) for key, value in options.items() if text(value)}
    return names


def _rows(file: Path) -> Iterator[ViaEntry]:
    """The images of a CSV file: one row for each region, and for each image without one."""
    try:
        rows = list(csv.DictReader(io.StringIO("\n".join(lines_of(file)))))
    except csv.Error as error:
        raise DataError(f"{file}: damaged, no table of cells ({error}); export it again") from None
    images: dict[str, ViaEntry] = {}
    for row in rows:
        name = row.get("filename") or row.get("#filename") or ""
        if not name:
            raise DataError(f"{file}: damaged, a row has no filename; export it again")
        attributes = _cell(row.get("file_attributes"))
        image = images.setdefault(name, (name, attributes if isinstance(attributes, dict) else {}, []))
        shape = _cell(row.get("region_shape_attributes"))
        if shape != {}:
            image[2].append((shape, _cell(row.get("region_attributes"))))
    yield from images.values()


def _cell(value: str | None) -> Any:
    """A cell of JSON; None if it is damaged."""
    try:
        return json.loads(value) if value else {}
    except (ValueError, RecursionError):
        return None
