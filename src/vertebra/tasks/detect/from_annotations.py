"""Boxes from the annotations of a data set."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.boxes import check_pixels, clean_boxes
from vertebra.annotations.class_ids import listed_ids, listed_scope, object_boxes, object_classes
from vertebra.annotations.class_names import bincount, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.table import Annotations
from vertebra.annotations.values import check_usable
from vertebra.tasks.detect.column import BoxColumn
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.octagons import diagonals_of


def read_boxes(annotations: Annotations, options: ReadOptions, notes: list[Note]) -> tuple[BoxColumn, DetectLabels]:
    """The boxes of all images; an object without one gets the box around its outline.

    Raises:
        DataError: no box can be used, or too few.
    """
    labels = DetectLabels(object_classes(annotations, options.classes))
    ids = listed_ids(annotations, annotations.objects.categories, labels.classes, "object", notes)
    problems: list[Note] = []
    boxes = object_boxes(annotations, "object", problems)
    check_pixels(boxes[ids >= 0], "box", annotations.where)
    whole = boxes
    kept, boxes = usable_boxes(annotations, boxes, ids >= 0, problems)
    objects = annotations.objects
    column = BoxColumn.of(
        objects.rows[kept],
        boxes[kept],
        ids[kept],
        objects.crowd[kept],
        annotations.annotated,
        AnnotatedSizes.of(annotations),
        None if not options.outlines or objects.shapes is None else diagonals_of(objects.shapes, whole)[kept],
        listed_scope(annotations, labels.classes),
        labels.class_count,
    )
    listed = int((ids >= 0).sum())
    dropped = annotations.dropped + listed - len(column.labels)
    total = annotations.dropped + listed
    check_usable(total, dropped, int(column.crowd.sum()), annotations.where, [*annotations.notes, *problems])
    notes += problems
    notes += without_images(labels.classes, bincount(column.labels, labels.class_count))
    return column, labels


def usable_boxes(
    annotations: Annotations, boxes: np.ndarray, listed: np.ndarray, notes: list[Note]
) -> tuple[np.ndarray, np.ndarray]:
    """The numbers of the objects whose boxes can be used, and all boxes, clipped to their images.

    Args:
        boxes: (B, 4), see `vertebra.annotations.class_ids.object_boxes`.
        listed: (B,) bool, the objects to use.
        notes: gets notes about dropped objects.
    """
    rows = annotations.objects.rows
    without = listed & np.isnan(boxes).all(axis=1)
    if without.any():
        notes.append(Note.of("object", "without a box or an outline", "dropped", annotations.names(rows[without])))
    numbers = np.flatnonzero(listed & ~without)
    good, cleaned, more = clean_boxes(rows[numbers], boxes[numbers], annotations.sizes, annotations.name)
    notes += more
    clipped = np.zeros(boxes.shape, dtype=np.float32)
    clipped[numbers] = cleaned
    return numbers[good], clipped
