"""Objects with masks from the annotations of a data set."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.boxes import FARTHEST, check_pixels
from vertebra.annotations.class_ids import listed_ids, listed_scope, object_boxes, object_classes
from vertebra.annotations.class_names import bincount, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.ranges import offsets_of
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.annotations.values import IGNORED_BOXES, check_usable
from vertebra.tasks.instances.column import InstanceColumn
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.segment_id_column import SegmentIdInstanceColumn
from vertebra.tasks.segment.segment_id_files import SegmentIdFiles


def read_instances(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[InstanceColumn | SegmentIdInstanceColumn, InstanceLabels]:
    """The objects of all images, with the masks of their outlines, run lengths or segment ids.

    Of an object with a box alone nobody knows the mask, so its box is ignored, as crowds are.

    Raises:
        DataError: no object can be used, or too few.
    """
    labels = InstanceLabels(object_classes(annotations, options.classes))
    column = (_from_segment_ids if annotations.has_segment_ids else _from_shapes)(annotations, labels, notes)
    notes += without_images(labels.classes, bincount(column.labels, labels.class_count))
    return column, labels


def _from_segment_ids(annotations: Annotations, labels: InstanceLabels, notes: list[Note]) -> SegmentIdInstanceColumn:
    """The objects whose pixels are in files of segment ids."""
    objects = annotations.objects
    source, order = SegmentIdFiles.of(annotations)
    ids = listed_ids(annotations, objects.categories, labels.classes, "segment", notes)[order]
    boxes = object_boxes(annotations, "segment", notes)[order]
    rows, kept = objects.rows[order], ids >= 0
    numbers = np.arange(len(order)) - source.offsets[rows]
    total = annotations.dropped + int(kept.sum())
    crowd = objects.crowd[order][kept]
    check_usable(total, annotations.dropped, int(crowd.sum()), annotations.where, [*annotations.notes, *notes])
    return SegmentIdInstanceColumn(
        offsets=offsets_of(rows[kept], len(annotations)),
        boxes=np.clip(np.nan_to_num(boxes[kept]), -FARTHEST, FARTHEST).astype(np.float32),
        labels=ids[kept],
        crowd=crowd,
        labeled=source.labeled,
        source=source,
        numbers=numbers[kept],
    )


def _from_shapes(annotations: Annotations, labels: InstanceLabels, notes: list[Note]) -> InstanceColumn:
    """The objects with outlines or run lengths."""
    objects = annotations.objects
    ids = listed_ids(annotations, objects.categories, labels.classes, "object", notes)
    listed = ids >= 0
    shapes = objects.shapes or Shapes.none(len(objects))
    problems = list(shapes.notes)
    check_pixels(shapes.points, "outline", annotations.where)
    boxes = object_boxes(annotations, "object", [])
    drawn = shapes.drawn
    flat = listed & drawn & ~shapes.enclosing
    sides = boxes[:, 2:] - boxes[:, :2]
    boxed = listed & ~drawn & (sides > 0).all(axis=1) & (np.abs(boxes) <= FARTHEST).all(axis=1)
    bare = listed & ~drawn & ~boxed
    for which, text, result in (
        (flat, "whose outline encloses nothing", "dropped"),
        (boxed, "with a box but no outline", IGNORED_BOXES),
        (bare, "without an outline or a box", "dropped"),
    ):
        if which.any():
            problems.append(Note.of("object", text, result, annotations.names(objects.rows[which])))
    kept = np.flatnonzero(listed & ~flat & ~bare)
    total = annotations.dropped + int(listed.sum())
    crowd = (objects.crowd | boxed)[kept]
    check_usable(total, total - len(kept), int(crowd.sum()), annotations.where, [*annotations.notes, *problems])
    column = InstanceColumn.of(
        objects.rows[kept],
        shapes.take(kept).compact(),
        np.nan_to_num(boxes[kept]),
        ids[kept],
        crowd,
        annotations.annotated,
        AnnotatedSizes.of(annotations),
        listed_scope(annotations, labels.classes),
        labels.class_count,
    )
    notes += problems
    return column
