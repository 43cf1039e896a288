"""Keypoints in COCO files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.data.columns import PointColumn
from vertebra.data.index import Note
from vertebra.data.readers.boxes import FARTHEST
from vertebra.data.readers.points import box_area_shares, boxes_around, sides
from vertebra.data.readers.values import flags, whole_number
from vertebra.errors import ConfigError, DataError
from vertebra.tasks.keypoints.labels import KeypointLabels

Objects = Sequence[Mapping[str, Any]]


def point_names(category: Mapping[str, Any]) -> tuple[str, ...]:
    """Names of a category's points; empty for a category without points."""
    names = category.get("keypoints")
    return tuple(str(name) for name in names) if isinstance(names, list) else ()


def point_labels(
    categories: Mapping[str, Mapping[str, Any]], classes: Sequence[str], file: Path, notes: list[Note]
) -> KeypointLabels:
    """The label specification of classes with the same points.

    Args:
        categories: the file's categories, by name.
        notes: gets new notes.

    Raises:
        DataError: the classes' points differ, there are none, or the skeleton is damaged.
    """
    entries = {name: categories[name] for name in classes if name in categories}
    different = {point_names(category) for category in entries.values()}
    if len(different) != 1 or not next(iter(different)):
        listed = "; ".join(f"{name}: {len(point_names(category))} points" for name, category in entries.items())
        raise DataError(
            f"{file}: the classes of a keypoints branch share one list of points, but here are {listed or 'none'}; "
            "name the classes that do: classes: [...]"
        )
    points = different.pop()
    skeleton: Any = next((category["skeleton"] for category in entries.values() if category.get("skeleton")), [])
    try:
        skeleton_ids = tuple((int(first) - 1, int(second) - 1) for first, second in skeleton)  # COCO counts from 1
        return KeypointLabels(tuple(classes), points, skeleton_ids, sides(points, notes))
    except ConfigError as error:
        raise DataError(f"{file}: {error} (in the file from 1)") from None
    except (TypeError, ValueError, OverflowError):
        raise DataError(f"{file}: a 'skeleton' must be a list of pairs of point numbers") from None


def point_column(
    objects: Objects, rows: np.ndarray, ids: np.ndarray, names: Sequence[str], count: int, file: Path, notes: list[Note]
) -> PointColumn:
    """The objects with their points.

    As in COCO's evaluation, crowds and objects without a labeled point are ignored. A missing ``bbox`` is computed around the
    points; a missing ``area`` is a share of the box.

    Args:
        objects: the annotations; ``rows`` (A,) and ``ids`` (A,) are their images and classes.
        names: of the images.
        count: number of points of an object.
        notes: gets new notes.

    Raises:
        DataError: ``keypoints`` of an object is not a list of the right number of numbers.
    """
    points = _column(objects, "keypoints", 3 * count, file).reshape(-1, count, 3)
    boxes = _column(objects, "bbox", 4, file)
    with np.errstate(over="ignore"):
        boxes[:, 2:] += boxes[:, :2]
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    boxes[flat] = boxes_around(points)[flat]
    areas = _column(objects, "area", 1, file)[:, 0]
    areas = np.where(areas > 0, areas, box_area_shares(boxes))
    files = [names[row] for row in rows.tolist()]
    crowd = flags([entry.get("iscrowd") for entry in objects], "iscrowd", files, notes)
    labeled = (points[..., 2] > 0).sum(axis=1)
    _add_notes(crowd, labeled, [entry.get("num_keypoints") for entry in objects], files, notes)
    return PointColumn.of(rows, points, boxes, ids, crowd, areas, np.ones(len(names), dtype=bool))


def _add_notes(
    crowd: np.ndarray, labeled: np.ndarray, counts: Sequence[Any], names: Sequence[str], notes: list[Note]
) -> None:
    """Adds notes about objects without a labeled point, and about wrong counts."""
    without = [name for name, bare in zip(names, (~crowd & (labeled == 0)).tolist(), strict=True) if bare]
    if without:
        notes.append(Note.of("object", "without a labeled point", "passed over", without))
    rows = zip(names, counts, labeled.tolist(), strict=True)
    wrong = [name for name, count, counted in rows if count is not None and whole_number(count) != counted]
    if wrong:
        notes.append(Note.of("object", "with a num_keypoints that is wrong", "counted anew", wrong))


def _column(objects: Objects, key: str, width: int, file: Path) -> np.ndarray:
    """(A, width) float32 of a key of all objects, 0 where it is missing."""
    values = np.zeros((len(objects), width), dtype=np.float32)
    for row, entry in enumerate(objects):
        raw = entry.get(key)
        if raw is None:
            continue
        try:
            with np.errstate(over="ignore"):
                numbers = np.asarray(raw, dtype=np.float32).reshape(-1)
        except (TypeError, ValueError, OverflowError):
            numbers = np.zeros(0, dtype=np.float32)
        far = width > 1 and (np.abs(numbers) > FARTHEST).any()
        if numbers.shape != (width,) or not np.isfinite(numbers).all() or far:
            expected = f"a list of {width} numbers of pixels" if width > 1 else "a number"
            raise DataError(
                f"{file}: '{key}' of annotation {str(entry.get('id'))[:60]} must be {expected}, got {str(raw)[:60]}"
            )
        values[row] = numbers
    return values
