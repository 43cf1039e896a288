"""Rotated boxes from the annotations of a data set."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.boxes import FARTHEST, check_pixels
from vertebra.annotations.class_ids import listed_ids, listed_scope, object_boxes
from vertebra.annotations.class_names import bincount, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.rectangles_around import rectangles_around
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.annotations.values import IGNORED_BOXES, check_usable
from vertebra.geometry.rectangles import upright_corners
from vertebra.tasks.rotated_boxes.column import MIN_SIDE, RotatedBoxColumn
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels


def read_rotated_boxes(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[RotatedBoxColumn, RotatedBoxLabels]:
    """The smallest rectangles around the outlines of all objects, and around the pixels of those with run lengths.

    The angle of an object with a box alone is not known, so its box is ignored, as crowds are.

    Raises:
        DataError: no object can be used, or too few.
    """
    labels = RotatedBoxLabels(options.classes or annotations.category_names)
    objects = annotations.objects
    listed = listed_ids(annotations, objects.categories, labels.classes, "object", notes)
    shapes = objects.shapes or Shapes.none(len(objects))
    problems = list(shapes.notes)
    check_pixels(shapes.points, "outline", annotations.where)
    boxes = object_boxes(annotations, "object", [])
    corners = rectangles_around(shapes)
    drawn = ~np.isnan(corners).any(axis=(1, 2))
    sides = np.linalg.norm(corners[:, [1, 3]] - corners[:, :1], axis=-1)
    wanted = listed >= 0
    boxed = wanted & ~drawn & ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1) & (np.abs(boxes) <= FARTHEST).all(axis=1)
    flat = wanted & drawn & ~((sides >= MIN_SIDE).all(axis=1) & (np.abs(corners) <= FARTHEST).all(axis=(1, 2)))
    bare = wanted & ~drawn & ~boxed
    for which, text, result in (
        (flat, "whose outline is no wider than a line", "dropped"),
        (boxed, "with a box but no outline, so of unknown angle", IGNORED_BOXES),
        (bare, "without an outline or a box", "dropped"),
    ):
        if which.any():
            problems.append(Note.of("object", text, result, annotations.names(objects.rows[which])))
    corners[boxed] = upright_corners(boxes[boxed])
    kept = np.flatnonzero(wanted & ~flat & ~bare)
    total = annotations.dropped + int(wanted.sum())
    crowd = (objects.crowd | boxed)[kept]
    check_usable(total, total - len(kept), int(crowd.sum()), annotations.where, [*annotations.notes, *problems])
    column = RotatedBoxColumn.of(
        objects.rows[kept],
        corners[kept],
        listed[kept],
        crowd,
        annotations.annotated,
        AnnotatedSizes.of(annotations),
        listed_scope(annotations, labels.classes),
        labels.class_count,
    )
    notes += problems
    notes += without_images(labels.classes, bincount(column.labels, labels.class_count))
    return column, labels
