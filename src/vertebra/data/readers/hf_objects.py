"""The objects of a row of a Hugging Face data set."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.segmentations import Segmentation, parse_segmentation
from vertebra.annotations.values import flag
from vertebra.data.readers.hf_columns import CLASSES, HfColumns
from vertebra.data.readers.tool_objects import Problems, coordinates, number

_IDS = ("id", "bbox_id")


def add_objects(
    builder: AnnotationBuilder,
    row: int,
    cell: Any,
    fields: frozenset[str],
    columns: HfColumns,
    image: str,
    problems: Problems,
) -> None:
    """Adds the objects of an image.

    Args:
        builder, row: the image.
        cell: a struct of lists, or a list of structs.
        fields: the names of the struct's fields, see `vertebra.data.readers.hf_columns.object_fields`.
        columns: name the classes.
        image: its name in messages.
        problems: become notes.
    """
    class_field = next((name for name in CLASSES if name in fields), None)
    for entry in _entries(cell, image, problems):
        name = "object" if class_field is None else columns.class_of(entry.get(class_field), image, problems)
        box = coordinates(entry.get("bbox"), 4)
        if not name:
            continue
        if box is None:
            problems.drop("whose 'bbox' is not four finite numbers", image)
            continue
        left, top, width, height = box.tolist()
        area = number(entry.get("area"))
        key = next((entry[name] for name in _IDS if isinstance(entry.get(name), (int, str))), None)
        builder.object(
            row,
            name,
            box=(left, top, left + width, top + height),
            shape=_shape(entry.get("segmentation"), image, problems),
            crowd=bool(flag(entry.get("iscrowd", entry.get("is_crowd")))),
            area=None if math.isnan(area) else area,
            id=key,
        )


def _entries(cell: Any, image: str, problems: Problems) -> Sequence[Mapping[str, Any]]:
    """The objects as mappings."""
    if cell is None:
        return []
    if isinstance(cell, list):
        for _ in (entry for entry in cell if not isinstance(entry, Mapping)):
            problems.drop("without values", image)
        return [entry for entry in cell if isinstance(entry, Mapping)]
    lists = {name: values for name, values in cell.items() if isinstance(values, list)}
    count = len(lists.get("bbox", ()))
    short = [name for name, values in lists.items() if len(values) != count]
    for name in short:
        problems.add("list", f"'{name}' of another length than the boxes", "left out", image)
    return [{name: values[number] for name, values in lists.items() if name not in short} for number in range(count)]


def _shape(value: Any, image: str, problems: Problems) -> Segmentation | None:
    if not value:
        return None
    try:
        shape = parse_segmentation(value)
    except (ValueError, TypeError, UnicodeError, OverflowError):
        problems.add("object", "whose 'segmentation' is neither outlines nor run lengths", "read without it", image)
        return None
    return shape if shape.outlines or len(shape.runs) or len(shape.text) else None
