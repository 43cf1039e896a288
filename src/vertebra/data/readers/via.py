"""VGG Image Annotator (VIA) 1, 2 and 3: a project, or its annotations as JSON or CSV.

A region's class is the only attribute that regions have, or the one called class, label, name, type or category. Regions of a
file without attributes are of one class.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.drawing import ellipse_outline
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import SPLITS, Annotations
from vertebra.annotations.values import flag
from vertebra.data.readers.base import AnnotationReader
from vertebra.data.readers.files import relative
from vertebra.data.readers.image_names import image_folders, resolve_images
from vertebra.data.readers.tool_files import any_file, read_all, root_of, split_in
from vertebra.data.readers.tool_objects import (
    Problems,
    ToolImage,
    ToolObject,
    coordinates,
    number,
    of_split,
    text,
    tool_annotations,
)
from vertebra.data.readers.via_files import ViaEntry, ViaFile, is_csv, is_json, read_via, via_files
from vertebra.errors import DataError

ANONYMOUS = "object"  # the class of regions without attributes
CLASS_NAMES = (
    "class",
    "label",
    "name",
    "type",
    "category",
)  # attributes that are taken for the class, the first one first
_WITHOUT_AREA = ("point", "polyline")


class ViaReader(AnnotationReader):
    """VIA's JSON and CSV files."""

    name = "via"
    summary = "VGG Image Annotator (a project, or its annotations as JSON or CSV)"
    suffixes = (".json", ".csv")
    holds = frozenset({"labels", "boxes", "outlines"})

    def looks_like(self, path: Path) -> bool:
        """Whether a file, or one of the first JSON or CSV files in a folder, is VIA's."""
        return any_file(path, ".json", is_json) or any_file(path, ".csv", is_csv)

    def splits(self, path: Path) -> tuple[str, ...]:
        """The splits that folders or files are named as."""
        named = {split_in(name, last=True) for name in relative(via_files(path, []), root_of(path))}
        return tuple(split for split in SPLITS if split in named)

    def load(self, path: Path, split: str | None, options: ReadOptions) -> Annotations:
        """All images of the files.

        Raises:
            DataError: there is no such file, all are damaged, none of the images exists, or several attributes may be the
                class.
        """
        root, problems = root_of(path), Problems()
        read = read_all(via_files(path, problems.noted), read_via, "annotation file", problems.noted)
        if not read:
            raise DataError(f"{path}: no JSON or CSV file of VIA in it")
        attribute = _class_attribute([content for _, content in read], path, problems)
        images: list[ToolImage] = []
        paths: list[str] = []
        for file, content in read:
            name = file.relative_to(root).as_posix()
            problems.noted += content.notes
            part = [_image(entry, name, attribute, content.options, problems) for entry in content.images]
            folders = image_folders([file.parent, root], split_in(name, last=True))
            paths += resolve_images([image.name for image in part], folders, root, file, problems.noted)
            images += part
        bare = [image.name for image in images if not image.objects and not image.labels]
        if bare:
            problems.noted.append(Note.of("image", "without a region", "kept as images with nothing in them", bare))
        return of_split(tool_annotations(images, paths, root, path, (), problems), split)


def _class_attribute(files: Sequence[ViaFile], path: Path, problems: Problems) -> str:
    """The attribute that is the class; "" if regions have none."""
    regions = [attributes for content in files for _, _, pairs in content.images for _, attributes in pairs]
    names = {str(key) for attributes in regions if isinstance(attributes, dict) for key in attributes}
    if len(names) <= 1:
        return next(iter(names), "")
    for known in CLASS_NAMES:
        matching = [name for name in sorted(names) if name.strip().lower() == known]
        if matching:
            others = sorted(names - {matching[0]})
            note = Note.of("attribute", f"of regions beside '{matching[0]}', the class,", "kept as attributes", others)
            problems.noted.append(note)
            return matching[0]
    raise DataError(
        f"{path}: its regions have several attributes ({', '.join(sorted(names))[:200]}), and none is called "
        f"{', '.join(CLASS_NAMES[:-1])} or {CLASS_NAMES[-1]}; rename the one that is the class to 'class'"
    )


def _image(
    entry: ViaEntry,
    file: str,
    attribute: str,
    options: Mapping[str, Mapping[str, str]],
    problems: Problems,
) -> ToolImage:
    name, attributes, regions = entry
    image = ToolImage(name, split=split_in(file, last=True))
    by_name = {str(key).strip().lower(): value for key, value in attributes.items()}
    for known in CLASS_NAMES:
        image.labels += [label for label in _values(by_name.get(known)) if label not in image.labels]
    for shape, values in regions:
        one = _object(shape, values, name, attribute, options, problems)
        image.objects += [] if one is None else [one]
    return image


def _object(
    shape: Any,
    values: Any,
    image: str,
    attribute: str,
    options: Mapping[str, Mapping[str, str]],
    problems: Problems,
) -> ToolObject | None:
    """One region; None if it is wrong or of no use."""
    values = values if isinstance(values, dict) else {}
    labels = _values(values.get(attribute)) if attribute else [ANONYMOUS]
    if not attribute:
        problems.add("region", "without a class, as all are,", f"read as class '{ANONYMOUS}'", image)
    if len(labels) != 1:
        problems.drop("without a class" if not labels else "of several classes", image)
        return None
    named = options.get(attribute, {}).get(labels[0], "") if labels[0].isdecimal() else ""
    rest = {str(key): value for key, value in values.items() if key != attribute and value not in ("", {}, None)}
    one = ToolObject(named or labels[0], attributes=rest)
    kind = text(shape.get("name")) if isinstance(shape, dict) else ""
    if kind in _WITHOUT_AREA:
        problems.add("region", f"drawn as {kind}, without an area,", "left out", image)
        return None
    if not kind or not _draw(one, kind, shape):
        problems.drop("without finite coordinates of a known shape", image)
        return None
    return one


def _values(value: Any) -> list[str]:
    """The chosen options of an attribute: its text, or those of a checkbox that are set."""
    if isinstance(value, dict):
        return [str(key) for key, chosen in value.items() if flag(chosen)]
    return [text(value)] if text(value) else []


def _draw(one: ToolObject, kind: str, shape: Mapping[str, Any]) -> bool:
    """Sets an object's box or outline; False if the numbers do not fit."""
    keys = {"rect": "x y width height", "circle": "cx cy r", "ellipse": "cx cy rx ry"}.get(kind)
    if keys is not None:
        numbers = coordinates([shape.get(key) for key in keys.split()])
        if numbers is None:
            return False
        first, second, *sides = numbers.tolist()
        if kind == "rect":
            one.box = (first, second, first + sides[0], second + sides[1])
            return True
        angle = number(shape.get("theta", 0))
        if min(sides) <= 0 or np.isnan(angle):
            return False
        one.outlines.append(ellipse_outline((first, second), (sides[0], sides[-1]), angle))
        return True
    across, down = coordinates(shape.get("all_points_x")), coordinates(shape.get("all_points_y"))
    if kind != "polygon" or across is None or down is None or len(across) != len(down) or len(across) < 3:
        return False
    one.outlines.append(np.stack([across, down], axis=1).reshape(-1))
    return True
