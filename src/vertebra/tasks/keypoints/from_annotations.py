"""Objects with points from the annotations of a data set."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.boxes import FARTHEST, check_pixels
from vertebra.annotations.class_ids import listed_ids, object_boxes
from vertebra.annotations.class_names import bincount, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.point_boxes import box_area_shares, boxes_around
from vertebra.annotations.table import Annotations, Category
from vertebra.annotations.values import check_usable
from vertebra.errors import ConfigError, DataError
from vertebra.tasks.keypoints.column import PointColumn
from vertebra.tasks.keypoints.flip_pairs_by_name import Pairs, pairs_by_name
from vertebra.tasks.keypoints.labels import KeypointLabels


def read_points(
    annotations: Annotations, options: ReadOptions, notes: list[Note]
) -> tuple[PointColumn, KeypointLabels]:
    """The objects of classes with points.

    As in COCO's evaluation, crowds and objects without a labeled point are ignored. A missing box is computed around the points;
    a missing area is a share of the box.

    Raises:
        DataError: the classes' points differ, an object has another number of points, or too few objects can be used.
    """
    with_points = tuple(category.name for category in annotations.categories if category.points)
    classes = options.classes or with_points
    if not classes:
        raise DataError(
            f"{annotations.where}: no category has keypoints; its 'categories' need a list 'keypoints' of the points' names"
        )
    ids = listed_ids(annotations, annotations.objects.categories, classes, "object", notes)
    labels = _labels(annotations, classes, notes)
    numbers = np.flatnonzero(ids >= 0)
    column = _column(annotations, numbers, ids[numbers], len(labels.points), notes)
    ignored = int((column.crowd | ~(column.points[..., 2] > 0).any(axis=1)).sum())
    total = annotations.dropped + len(numbers)
    check_usable(total, annotations.dropped, ignored, annotations.where, [*annotations.notes, *notes])
    notes += without_images(classes, bincount(column.labels, len(classes)))
    return column, labels


def _labels(annotations: Annotations, classes: Sequence[str], notes: list[Note]) -> KeypointLabels:
    listed_classes = set(classes)
    categories = [category for category in annotations.categories if category.name in listed_classes]
    different = {category.points for category in categories}
    if len(different) != 1 or not next(iter(different)):
        listed = "; ".join(f"{category.name}: {len(category.points)} points" for category in categories)
        raise DataError(
            f"{annotations.where}: the classes of a keypoints branch share one list of points, but here are "
            f"{listed or 'none'}; name the classes that do: classes: [...]"
        )
    points = different.pop()
    written = next((category.flip_pairs for category in categories if category.flip_pairs is not None), None)
    pairs = named_pairs(points, notes) if written is None else written
    try:
        return KeypointLabels(tuple(classes), points, _skeleton(categories), pairs)
    except ConfigError as error:
        raise DataError(f"{annotations.where}: {error} (in the file from 1)") from None


def _skeleton(categories: Sequence[Category]) -> Pairs:
    return next((category.skeleton for category in categories if category.skeleton), ())


def _column(
    annotations: Annotations, numbers: np.ndarray, ids: np.ndarray, count: int, notes: list[Note]
) -> PointColumn:
    objects = annotations.objects.take(numbers)
    points = _dense(annotations, numbers, count)
    check_pixels(points[points[..., 2] > 0][:, :2], "point", annotations.where)
    boxes = object_boxes(annotations, "object", [])[numbers]
    far = (np.abs(boxes) > FARTHEST).any(axis=1)
    if far.any():
        names = annotations.names(objects.rows[far])
        notes.append(Note.of("object", "with a box far outside of its image", "given the box around its points", names))
    boxes = np.where((np.isnan(boxes).any(axis=1) | far)[:, None], 0, boxes).astype(np.float32)
    flat = (boxes[:, 2:] <= boxes[:, :2]).any(axis=1)
    boxes[flat] = boxes_around(points)[flat]
    sound = (objects.areas > 0) & (objects.areas <= FARTHEST**2)
    areas = np.where(sound, objects.areas, 0).astype(np.float32)
    areas = np.where(areas > 0, areas, box_area_shares(boxes))
    bare = ~objects.crowd & ~(points[..., 2] > 0).any(axis=1)
    if bare.any():
        names = annotations.names(objects.rows[bare])
        notes.append(Note.of("object", "without a labeled point", "passed over", names))
    sizes = AnnotatedSizes.of(annotations)
    return PointColumn.of(objects.rows, points, boxes, ids, objects.crowd, areas, annotations.annotated, sizes)


def _dense(annotations: Annotations, numbers: np.ndarray, count: int) -> np.ndarray:
    """(M, count, 3) float32 points of some objects, 0 for objects without points."""
    objects = annotations.objects
    lengths = np.diff(objects.point_offsets)[numbers]
    wrong = np.flatnonzero((lengths != count) & (lengths != 0))
    if len(wrong):
        name = annotations.name(int(objects.rows[numbers[wrong[0]]]))
        raise DataError(
            f"{annotations.where}: an object of {name} has {int(lengths[wrong[0]])} points, its class has {count}; give each "
            "object all points, those that are not labeled with visibility 0"
        )
    points = np.zeros((len(numbers), count, 3), dtype=np.float32)
    filled = lengths == count
    starts = objects.point_offsets[:-1][numbers[filled]]
    points[filled] = np.clip(objects.points[starts[:, None] + np.arange(count)], -FARTHEST, FARTHEST)
    return points


def named_pairs(points: Sequence[str], notes: list[Note]) -> Pairs | None:
    """The left-right pairs by the points' names, with a note; None if the names leave a point undecided."""
    pairs = pairs_by_name(points)
    if pairs is not None:
        names = [f"{points[left]} and {points[right]}" for left, right in pairs]
        notes.append(Note.of("pair", "of left and right", "taken from the names of the points", names))
    return pairs
