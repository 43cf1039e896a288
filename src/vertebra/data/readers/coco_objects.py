"""The annotations of a COCO file as columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.boxes import FARTHEST
from vertebra.annotations.notes import Note
from vertebra.annotations.shapes import DeferredShapes, Shapes
from vertebra.annotations.table import Objects
from vertebra.annotations.values import flags, whole_number
from vertebra.data.readers.coco_json import AnnotationEntry, is_segmented
from vertebra.data.readers.coco_segmentations import read_shapes
from vertebra.errors import DataError

Entries = Sequence[AnnotationEntry]


def coco_objects(
    entries: Entries, rows: np.ndarray, categories: np.ndarray, names: Sequence[str], file: Path, notes: list[Note]
) -> Objects:
    """The objects of annotations; their shapes are read when first used.

    Args:
        entries: A annotations.
        rows: (A,) int64, the image of each.
        categories: (A,) int64.
        names: of the images.
        file: for messages.
        notes: gets new notes.

    Raises:
        DataError: an annotation has a box or points that are not of COCO's form.
    """
    owners = [names[row] for row in rows.tolist()]
    points, offsets = _points(entries, owners, notes)
    attributes = tuple(entry.attributes for entry in entries)
    has_attributes = any(isinstance(value, Mapping) and value for value in attributes if value)
    ids = tuple(entry.id for entry in entries)
    return Objects(
        rows=rows,
        categories=categories,
        boxes=boxes_of([entry.bbox for entry in entries], ids, file),
        shapes=_shapes(entries, owners, file),
        points=points,
        point_offsets=offsets,
        crowd=_crowd(entries, owners, notes),
        areas=areas_of([entry.area for entry in entries], owners, notes),
        ids=ids if any(key is not None for key in ids) else None,
        attributes=tuple(value if isinstance(value, Mapping) else {} for value in attributes)
        if has_attributes
        else None,
    )


def _crowd(entries: Entries, owners: Sequence[str], notes: list[Note]) -> np.ndarray:
    values = [entry.iscrowd for entry in entries]
    try:
        plain = set(values) <= {0, 1, None}
    except TypeError:  # a list or an object
        plain = False
    return np.array(values, dtype=bool) if plain else flags(values, "iscrowd", owners, notes)


def boxes_of(raw: Sequence[Any], ids: Sequence[Any], file: Path) -> np.ndarray:
    """(A, 4) float64 xyxy, nan for values that are no list of four.

    Args:
        raw: values of 'bbox'.
        ids: of the annotations, for messages.

    Raises:
        DataError: a list of four holds something that is no number.
    """
    sound = np.array([isinstance(box, list) and len(box) == 4 for box in raw], dtype=bool)
    boxes = np.full((len(raw), 4), np.nan)
    lists = raw if sound.all() else [box for box, good in zip(raw, sound.tolist(), strict=True) if good]
    try:
        numbers = np.fromiter(chain.from_iterable(lists), dtype=np.float64, count=4 * len(lists)).reshape(-1, 4)
    except (TypeError, ValueError, OverflowError):
        wrong = next(number for number, box in enumerate(raw) if sound[number] and not _are_numbers(box))
        raise DataError(
            f"{file}: a 'bbox' holds something that is no number, {str(raw[wrong])[:60]} of annotation "
            f"{str(ids[wrong])[:60]}; write it as [x, y, width, height]"
        ) from None
    with np.errstate(invalid="ignore", over="ignore"):  # infinity minus infinity, in boxes that are dropped later
        numbers[:, 2:] += numbers[:, :2]
    boxes[sound] = numbers
    return boxes


def _are_numbers(box: Any) -> bool:
    try:
        return len(np.fromiter(box, dtype=np.float64)) == 4
    except (TypeError, ValueError, OverflowError):
        return False


def areas_of(values: Sequence[Any], owners: Sequence[str], notes: list[Note]) -> np.ndarray:
    """(A,) float64 of values of 'area', nan where there is none."""
    try:
        numbers = np.fromiter([np.nan if value is None else value for value in values], np.float64, len(values))
    except (TypeError, ValueError, OverflowError):
        numbers = np.array([_number(value) for value in values], dtype=np.float64)
    wrong = [owners[i] for i in np.flatnonzero(~np.isfinite(numbers)).tolist() if values[i] is not None]
    if wrong:
        notes.append(Note.of("object", "with an area that is no number", "taken as without one", wrong))
    return numbers


def _number(value: Any) -> float:
    try:
        return float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        return float("nan")


def _shapes(entries: Entries, owners: Sequence[str], file: Path) -> Shapes | None:
    raw = [entry.segmentation for entry in entries]
    if not any(map(is_segmented, raw)):
        return None
    ids = [entry.id for entry in entries]

    def read(numbers: np.ndarray) -> Shapes:
        chosen = numbers.tolist()
        return read_shapes([raw[i] for i in chosen], [ids[i] for i in chosen], [owners[i] for i in chosen], file)

    return DeferredShapes(read, np.arange(len(raw)))


def _points(entries: Entries, owners: Sequence[str], notes: list[Note]) -> tuple[np.ndarray, np.ndarray]:
    """(P, 3) float64 points of all objects, and (A + 1,) their offsets."""
    pointed = [i for i, one in enumerate(entries) if one.keypoints is not None or one.num_keypoints is not None]
    parts = [_numbers_of(entries[i].keypoints) for i in pointed]
    damaged = [owners[i] for i, part in zip(pointed, parts, strict=True) if part is None]
    if damaged:
        which = "whose keypoints are not x, y and visibility of each point, in pixels,"
        notes.append(Note.of("object", which, "taken as without points", damaged))
    known = [np.zeros(0) if part is None else part for part in parts]
    counts = [(entries[i].num_keypoints, int((part[2::3] > 0).sum())) for i, part in zip(pointed, known, strict=True)]
    wrong = [
        owners[i]
        for i, (count, labeled) in zip(pointed, counts, strict=True)
        if count is not None and whole_number(count) != labeled
    ]
    if wrong:
        notes.append(Note.of("object", "with a num_keypoints that is wrong", "counted anew", wrong))
    lengths = np.zeros(len(entries), dtype=np.int64)
    lengths[pointed] = [len(part) // 3 for part in known]
    values = np.concatenate([np.zeros(0), *known]).reshape(-1, 3)
    return values, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)


def _numbers_of(raw: Any) -> np.ndarray | None:
    """The numbers of an object's points, empty if it has none; None if they are damaged."""
    try:
        numbers = np.zeros(0) if raw is None else np.asarray(raw, dtype=np.float64).reshape(-1)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if len(numbers) % 3 or not (np.abs(numbers) <= FARTHEST).all() else numbers
