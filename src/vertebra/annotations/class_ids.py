"""The class of each object or label of a data set among the classes that are asked for."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np

from vertebra.annotations.class_names import bincount, class_ids, left_out
from vertebra.annotations.mask_files import read_segment_ids
from vertebra.annotations.notes import Note
from vertebra.annotations.point_boxes import boxes_around
from vertebra.annotations.run_lengths import label_regions
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.table import Annotations, Objects
from vertebra.errors import DataError


def object_classes(annotations: Annotations, listed: Sequence[str] | None) -> tuple[str, ...]:
    """The classes of tasks for single objects: those that the user lists, or else all of the data, of panoptic data all things.

    Raises:
        DataError: all classes of the data are stuff.
    """
    if listed or not annotations.has_segment_ids:
        return tuple(listed or annotations.category_names)
    if annotations.categories and not annotations.thing_names:
        raise DataError(
            f"{annotations.where}: all of its classes are stuff ('isthing' is 0), which has no single objects; list the classes "
            "to read as objects, or use task 'segment'"
        )
    return annotations.thing_names


def listed_ids(
    annotations: Annotations, categories: np.ndarray, classes: Sequence[str], noun: str, notes: list[Note]
) -> np.ndarray:
    """The class id of each entry, -1 for classes that are not listed, with a note about those.

    Args:
        annotations: has the categories.
        categories: (B,) int64, the category of each entry.
        classes: the listed classes.
        noun: of an entry, in the note.

    Raises:
        DataError: none of the categories is listed.
    """
    names = annotations.category_names
    ids = class_ids(names, classes, annotations.where)
    counts = dict(zip(names, bincount(categories, len(names)).tolist(), strict=True))
    listed = set(classes)
    notes += left_out({name: count for name, count in counts.items() if name not in listed}, noun)
    entry_ids: np.ndarray = ids[categories] if len(categories) else np.zeros(0, dtype=np.int64)
    return entry_ids


def listed_scope(annotations: Annotations, classes: Sequence[str]) -> LabelScope | None:
    """The label scope of a data set by listed classes; None where all classes are annotated in all images."""
    if annotations.scope is None:
        return None
    return annotations.scope.renumbered(class_ids(annotations.category_names, classes, annotations.where), len(classes))


def object_boxes(annotations: Annotations, noun: str, notes: list[Note]) -> np.ndarray:
    """The boxes of all objects; of those without one, the box around the outline, the run lengths, or the points.

    A note counts them where other objects have boxes.

    Returns:
        (B, 4) float64 xyxy; nan for objects that have none of these.
    """
    objects = annotations.objects
    missing = ~objects.has_box
    numbers = np.flatnonzero(missing)
    if not len(numbers):
        return objects.boxes
    if annotations.has_segment_ids:
        return _boxes_of_segments(annotations, numbers, noun, notes)
    outlined, pointed = np.zeros_like(missing), np.zeros_like(missing)
    outlined[numbers] = objects.take(numbers).has_shape
    pointed[numbers] = ~outlined[numbers] & objects.has_points[numbers]
    if not (outlined | pointed).any():
        return objects.boxes
    boxes: np.ndarray = objects.boxes.copy()
    if objects.shapes is not None:
        boxes[outlined] = objects.shapes.take(np.flatnonzero(outlined)).bounds()
    boxes[pointed] = _boxes_of_points(objects, np.flatnonzero(pointed))
    if not missing.all():
        for chosen, source in ((outlined, "its outline"), (pointed, "its points")):
            if chosen.any():
                names = annotations.names(objects.rows[chosen])
                notes.append(Note.of(noun, "without a box", f"given the box around {source}", names))
    return boxes


def _boxes_of_segments(annotations: Annotations, numbers: np.ndarray, noun: str, notes: list[Note]) -> np.ndarray:
    """(B, 4) all boxes, those of some objects around their pixels in files of segment ids; nan for objects without a pixel."""
    objects, masks = annotations.objects, annotations.masks
    assert masks is not None
    assert objects.ids is not None
    boxes: np.ndarray = objects.boxes.copy()
    keys = np.array(objects.ids, dtype=np.int64)
    order = numbers[np.argsort(objects.rows[numbers], kind="stable")]
    for part in np.split(order, np.flatnonzero(np.diff(objects.rows[order])) + 1):
        file = masks.files[objects.rows[part[0]]]
        if file:
            part = part[np.argsort(keys[part])]
            ids = read_segment_ids(masks.root / os.fsdecode(file))
            positions = np.searchsorted(keys[part], ids).clip(max=len(part) - 1)
            labels = np.where(keys[part][positions] == ids, positions + 1, 0)
            boxes[part] = [region.bounds() for region in label_regions(labels, len(part))]
    filled = numbers[~np.isnan(boxes[numbers, 0])]
    if len(filled):
        names = annotations.names(objects.rows[filled])
        notes.append(Note.of(noun, "without a box", "given the box around its pixels", names))
    return boxes


def _boxes_of_points(objects: Objects, numbers: np.ndarray) -> np.ndarray:
    """(M, 4) boxes around the labeled points of some objects; nan for an object without a labeled point."""
    lengths = np.diff(objects.point_offsets)[numbers]
    most = int(lengths.max(initial=0))
    columns = np.arange(most)
    padded = np.concatenate([objects.points, np.zeros((most + 1, 3))])
    points = padded[objects.point_offsets[:-1][numbers][:, None] + columns]
    points[columns >= lengths[:, None]] = 0
    boxes: np.ndarray = boxes_around(points).astype(np.float64)
    boxes[~(points[..., 2] > 0).any(axis=1)] = np.nan
    return boxes
