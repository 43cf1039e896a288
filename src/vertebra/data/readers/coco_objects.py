"""The annotations of a COCO file as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.boxes import FARTHEST
from vertebra.annotations.notes import Note
from vertebra.annotations.ranges import join_ranges
from vertebra.annotations.segmentations import Segmentation, parse_segmentation
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Objects
from vertebra.annotations.values import flags, whole_number
from vertebra.errors import DataError

Entries = Sequence[Mapping[str, Any]]


def coco_objects(
    entries: Entries, rows: np.ndarray, categories: np.ndarray, names: Sequence[str], file: Path, notes: list[Note]
) -> Objects:
    """The objects of annotations.

    Args:
        entries: A annotations.
        rows: (A,) int64, the image of each.
        categories: (A,) int64.
        names: of the images.
        file: for messages.
        notes: gets new notes.

    Raises:
        DataError: an annotation has a box, a segmentation or points that are not of COCO's form.
    """
    owners = [names[row] for row in rows.tolist()]
    points, offsets = _points(entries, owners, notes)
    attributes = tuple(entry.get("attributes") for entry in entries)
    has_attributes = any(isinstance(value, Mapping) and value for value in attributes)
    ids = tuple(entry.get("id") for entry in entries)
    return Objects(
        rows=rows,
        categories=categories,
        boxes=_boxes(entries, file),
        shapes=_shapes(entries, file),
        points=points,
        point_offsets=offsets,
        crowd=flags([entry.get("iscrowd") for entry in entries], "iscrowd", owners, notes),
        areas=_areas(entries, owners, notes),
        ids=ids if any(key is not None for key in ids) else None,
        attributes=tuple(value if isinstance(value, Mapping) else {} for value in attributes)
        if has_attributes
        else None,
    )


def _boxes(entries: Entries, file: Path) -> np.ndarray:
    """(A, 4) float64 xyxy, nan for entries without a box of four values."""
    raw = [entry.get("bbox") for entry in entries]
    sound = np.array([isinstance(box, list) and len(box) == 4 for box in raw], dtype=bool)
    boxes = np.full((len(raw), 4), np.nan)
    lists = [box for box, good in zip(raw, sound.tolist(), strict=True) if good]
    try:
        numbers = np.array(lists, dtype=np.float64).reshape(-1, 4)
    except (TypeError, ValueError, OverflowError):
        wrong = next(number for number, box in enumerate(raw) if sound[number] and not _are_numbers(box))
        raise DataError(
            f"{file}: a 'bbox' holds something that is no number, {str(raw[wrong])[:60]} of annotation "
            f"{str(entries[wrong].get('id'))[:60]}; write it as [x, y, width, height]"
        ) from None
    with np.errstate(invalid="ignore", over="ignore"):  # infinity minus infinity, in boxes that are dropped later
        numbers[:, 2:] += numbers[:, :2]
    boxes[sound] = numbers
    return boxes


def _are_numbers(box: Any) -> bool:
    try:
        return np.array(box, dtype=np.float64).shape == (4,)
    except (TypeError, ValueError, OverflowError):
        return False


def _areas(entries: Entries, owners: Sequence[str], notes: list[Note]) -> np.ndarray:
    """(A,) float64, nan where there is none."""
    values = [entry.get("area") for entry in entries]
    numbers = np.array([_number(value) for value in values], dtype=np.float64)
    checked = zip(owners, values, np.isfinite(numbers).tolist(), strict=True)
    wrong = [name for name, value, finite in checked if value is not None and not finite]
    if wrong:
        notes.append(Note.of("object", "with an area that is no number", "taken as without one", wrong))
    return numbers


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _shapes(entries: Entries, file: Path) -> Shapes | None:
    raw = [entry.get("segmentation") for entry in entries]
    if not any(raw):
        return None
    return Shapes.joined(
        [_segmentation(entry, file) if entry.get("segmentation") else Segmentation() for entry in entries]
    )


def _segmentation(entry: Mapping[str, Any], file: Path) -> Segmentation:
    try:
        return parse_segmentation(entry["segmentation"])
    except ValueError as error:
        raise DataError(
            f"{file}: a 'segmentation' is neither outlines nor run lengths, that of annotation {str(entry.get('id'))[:60]} "
            f"({str(error)[:100]}); remove or correct it"
        ) from None


def _points(entries: Entries, owners: Sequence[str], notes: list[Note]) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3) float64 points of all objects, and (A + 1,) their offsets."""
    parts = [_numbers_of(entry.get("keypoints")) for entry in entries]
    damaged = [name for name, part in zip(owners, parts, strict=True) if part is None]
    if damaged:
        which = "whose keypoints are not x, y and visibility of each point, in pixels,"
        notes.append(Note.of("object", which, "taken as without points", damaged))
    known = [np.zeros(0) if part is None else part for part in parts]
    counts = [entry.get("num_keypoints") for entry in entries]
    labeled = [int((part[2::3] > 0).sum()) for part in known]
    checked = zip(owners, counts, labeled, strict=True)
    wrong = [name for name, count, counted in checked if count is not None and whole_number(count) != counted]
    if wrong:
        notes.append(Note.of("object", "with a num_keypoints that is wrong", "counted anew", wrong))
    values, offsets = join_ranges(known, np.float64)
    return values.reshape(-1, 3), offsets // 3


def _numbers_of(raw: Any) -> np.ndarray | None:
    """The numbers of an object's points, empty if it has none; None if they are damaged."""
    try:
        numbers = np.zeros(0) if raw is None else np.asarray(raw, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if len(numbers) % 3 or not (np.abs(numbers) <= FARTHEST).all() else numbers
