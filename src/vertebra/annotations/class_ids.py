"""The class of each object or label of a data set among the classes that are asked for."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.annotations.class_names import bincount, class_ids, left_out
from vertebra.annotations.notes import Note
from vertebra.annotations.point_boxes import boxes_around
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.table import Annotations, Objects


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
