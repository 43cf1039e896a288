"""Projects of VGG Image Annotator 3, which keeps files, views, attributes and metadata apart.

A view shows a file; metadata of a view are a region, ``xy`` with the number of its shape first, or values of the whole file where
``xy`` is empty; ``av`` has the value of each attribute by the attribute's number, for a choice the number of the option.
See the format in https://gitlab.com/vgg/via, via-3.x.y/CodeDoc.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra.annotations.notes import Note
from vertebra.data.readers.tool_objects import text
from vertebra.errors import DataError

IMAGE = 2  # type of a file
ADDRESSES = (2, 3)  # where a file is: at a URL, or at a path; others have no name in 'src'
CHECKBOX, CHOICES = 2, (2, 3, 4)  # types of attributes: boxes to check, and with them buttons and lists
OF_FILES = "FILE1_Z0_XY0"  # what an attribute is of
CLASS = "class"  # the name of the only choice of files
_KEYS = ("project", "config", "attribute", "file")
_NUMBERS = {  # VIA 2's names of the numbers of a shape, by VIA 3's number of the shape
    1: ("point", ("cx", "cy")),
    2: ("rect", ("x", "y", "width", "height")),
    3: ("circle", ("cx", "cy", "r")),
    4: ("ellipse", ("cx", "cy", "rx", "ry")),
}
_POINTS = {5: "polyline", 6: "polyline", 7: "polygon", 8: "box"}

Attributes = dict[str, Any]


def is_via3(content: bytes) -> bool:
    """Whether the two ends of a file are those of a project."""
    starts = content.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"{")
    named = all(re.search(rb'"%s"\s*:' % key.encode(), content) for key in _KEYS)
    return starts and named and (b'"vid_list"' in content or b'"anchor_id"' in content)


def is_via3_document(document: Mapping[str, Any]) -> bool:
    """Whether a JSON object is a project."""
    return all(isinstance(document.get(key), dict) for key in _KEYS)


def via3_images(
    document: Mapping[str, Any], file: Path
) -> tuple[list[tuple[str, Attributes, list[tuple[Any, Any]]]], list[Note]]:
    """The images of a project, and notes about what is left out: files that are no images, and views of several files.

    Args:
        document: the project.
        file: for messages.

    Returns:
        The name, attributes and regions of each image, regions as pairs of a shape as VIA 2 has it and its attributes; and notes.

    Raises:
        DataError: it is damaged.
    """
    views, metadata = document.get("view"), document.get("metadata")
    if not isinstance(views, dict) or not isinstance(metadata, dict):
        raise DataError(f"{file}: damaged, it has no 'view' or no 'metadata'; export it again")
    names, others = _file_names(document["file"], file)
    files_of = {key: _files_of(view) for key, view in views.items()}
    of_files = {**document["attribute"], **_only_choice(document["attribute"])}
    images: dict[str, tuple[str, Attributes, list[tuple[Any, Any]]]] = {}
    for key, name in names.items():
        images[key] = (name, {}, [])
    left_out: list[str] = []
    for entry in metadata.values():
        view = text(entry.get("vid")) if isinstance(entry, dict) else ""
        if view not in files_of:
            raise DataError(f"{file}: damaged, an entry of 'metadata' is of no view; export it again")
        shown = files_of[view]
        image = images.get(shown[0]) if len(shown) == 1 else None
        if image is None:
            left_out.append(view)
        elif entry.get("xy"):
            image[2].append((_shape(entry["xy"]), _values(entry.get("av"), document["attribute"])))
        else:
            image[1].update(_values(entry.get("av"), of_files))
    alone = {shown[0] for shown in files_of.values() if len(shown) == 1}
    annotated = {key for view in left_out for key in files_of[view]}
    unread = [key for key in images if key in annotated and key not in alone]
    notes = _left_out(
        [images.pop(key)[0] for key in unread],
        others,
        {view: " + ".join(names.get(key) or others.get(key, key) for key in files_of[view]) for view in set(left_out)},
        [(view, len(files_of[view]) > 1) for view in left_out],
    )
    return list(images.values()), notes


def _file_names(files: Mapping[str, Any], file: Path) -> tuple[dict[str, str], dict[str, str]]:
    """The names of the images by their keys, and those of other files."""
    names: dict[str, str] = {}
    others: dict[str, str] = {}
    for key, entry in files.items():
        if not isinstance(entry, dict) or not text(entry.get("fname")):
            raise DataError(f"{file}: damaged, a file has no 'fname'; export it again")
        if entry.get("type") == IMAGE:
            names[key] = _name(entry)
        else:
            others[key] = text(entry["fname"])
    return names, others


def _left_out(
    images: Sequence[str],
    others: Mapping[str, str],
    shown: Mapping[str, str],
    entries: Sequence[tuple[str, bool]],
) -> list[Note]:
    """Notes about images, other files, and annotations as pairs of a view and whether it is of several files.

    Args:
        shown: the names of the files of each view.
    """
    several = [shown[view] for view, of_several in entries if of_several]
    of_no_image = [shown[view] or view for view, of_several in entries if not of_several]
    notes = []
    for noun, which, names in (
        ("file", "of a project that is no image, as a video,", list(others.values())),
        ("annotation", "of a video, or of a view without an image,", of_no_image),
        ("annotation", "of a view of several files", several),
        ("image", "that is annotated in views of several files only", images),
    ):
        if names:
            notes.append(Note.of(noun, which, "left out", names))
    return notes


def _only_choice(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The only attribute of files that is a choice, called "class"; none if there are others."""
    of_files = {
        key: one for key, one in attributes.items() if isinstance(one, dict) and one.get("anchor_id") == OF_FILES
    }
    if len(of_files) != 1:
        return {}
    return {key: {**one, "aname": CLASS} for key, one in of_files.items() if one.get("type") in CHOICES}


def _name(entry: Mapping[str, Any]) -> str:
    address = text(entry.get("src")) if entry.get("loc") in ADDRESSES else ""
    return address or text(entry["fname"])


def _files_of(view: Any) -> list[str]:
    """The files that a view shows."""
    files = view.get("fid_list") if isinstance(view, dict) else None
    return [text(one) for one in files] if isinstance(files, list) else []


def _values(values: Any, attributes: Mapping[str, Any]) -> Attributes:
    """The values of attributes by their names; chosen options as text, several as a mapping."""
    named: Attributes = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        attribute = attributes.get(key)
        if not isinstance(attribute, dict) or not text(attribute.get("aname")):
            continue
        options = attribute.get("options")
        options = options if isinstance(options, dict) else {}
        if attribute.get("type") == CHECKBOX and options:
            chosen = [text(options.get(one, one)) for one in text(value).split(",") if one]
            named[text(attribute["aname"])] = dict.fromkeys(chosen, True)
        else:
            named[text(attribute["aname"])] = text(options.get(text(value), value))
    return named


def _shape(numbers: Any) -> Mapping[str, Any] | None:
    """A region as VIA 2 has it; None if it is damaged, or of an unknown shape."""
    if not isinstance(numbers, list) or not numbers or not all(isinstance(one, (int, float)) for one in numbers):
        return None
    number, values = numbers[0], numbers[1:]
    if number in _NUMBERS:
        name, keys = _NUMBERS[number]
        return {"name": name, **dict(zip(keys, values, strict=False))} if len(values) >= len(keys) else None
    if number not in _POINTS or len(values) % 2:
        return None
    across, down = values[::2], values[1::2]
    if _POINTS[number] == "box" and values:
        return _rectangle(across, down)
    return {"name": _POINTS[number], "all_points_x": across, "all_points_y": down}


def _rectangle(across: Sequence[float], down: Sequence[float]) -> dict[str, Any]:
    """The rectangle whose four sides go through points."""
    left, top = min(across), min(down)
    return {"name": "rect", "x": left, "y": top, "width": max(across) - left, "height": max(down) - top}
