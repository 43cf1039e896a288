"""Rotated boxes from the annotations of a data set."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes
from vertebra.annotations.boxes import FARTHEST, check_pixels
from vertebra.annotations.class_ids import listed_ids, listed_scope, object_boxes
from vertebra.annotations.class_names import bincount, without_images
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.annotations.values import check_usable
from vertebra.geometry.rectangles import enclosing_rectangles, rectangles_along, upright_corners
from vertebra.tasks.rotated_boxes.column import MIN_SIDE, RotatedBoxColumn
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels

FOUR_CORNERS = 8  # numbers of an outline with four points
COARSE, FINE = 1.0, 0.05  # degrees between the directions that are tried for outlines of more points


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
        (boxed, "with a box but no outline, so of unknown angle", "ignored in training and metrics"),
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


def rectangles_around(shapes: Shapes) -> np.ndarray:
    """The smallest rectangles around objects: exact for one outline of four points, and for more within 0.05 degrees.

    Args:
        shapes: of B objects.

    Returns:
        (B, 4, 2) float64 of x, y; nan for an object without an outline or run lengths.
    """
    corners = np.full((len(shapes), 4, 2), np.nan)
    counts = np.diff(shapes.outlines_of)
    outlined = np.flatnonzero(counts)
    starts = shapes.outlines[shapes.outlines_of[:-1][outlined]]
    ends = shapes.outlines[shapes.outlines_of[1:][outlined]]
    four = ends - starts == FOUR_CORNERS
    simple, rest = outlined[four], outlined[~four]
    if len(simple):
        points = shapes.points[starts[four][:, None] + np.arange(FOUR_CORNERS)].reshape(-1, 4, 2)
        corners[simple] = enclosing_rectangles(points.astype(np.float64))
    encoded = np.flatnonzero((np.diff(shapes.runs_of) > 0) | (np.diff(shapes.text_of) > 0))
    if len(rest):
        first, last = starts[~four] // 2, ends[~four] // 2
        lengths = last - first
        offsets = np.concatenate([[0], np.cumsum(lengths)])
        picked = np.repeat(first - offsets[:-1], lengths) + np.arange(offsets[-1])
        corners[rest] = _smallest(shapes.points.reshape(-1, 2)[picked].astype(np.float64), offsets)
    if len(encoded):
        parts = [_border_points(shapes, number) for number in encoded.tolist()]
        filled = np.array([len(part) > 0 for part in parts], dtype=bool)
        offsets = np.concatenate([[0], np.cumsum([len(part) for part in parts if len(part)])]).astype(np.int64)
        if filled.any():
            corners[encoded[filled]] = _smallest(np.concatenate(parts), offsets)
    return corners


def _border_points(shapes: Shapes, number: int) -> np.ndarray:
    """(P, 2) the corners of the first and last pixel in each row of an object's run lengths."""
    size = (int(shapes.sizes[number, 0]), int(shapes.sizes[number, 1]))
    mask, left, top = shapes.region(number, size).patch()
    rows = np.flatnonzero(mask.any(axis=1))
    low, high = mask[rows].argmax(axis=1), mask.shape[1] - mask[rows, ::-1].argmax(axis=1)
    x = np.concatenate([low, high, low, high]) + left
    y = np.concatenate([rows, rows, rows + 1, rows + 1]) + top
    return np.stack([x, y], axis=1).astype(np.float64)


def _smallest(points: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """(m, 4, 2) the smallest rectangles around the points (P, 2) from ``offsets[i]`` to ``offsets[i + 1]``."""
    owners = np.repeat(np.arange(len(offsets) - 1), np.diff(offsets))
    centers = np.add.reduceat(points, offsets[:-1]) / np.diff(offsets)[:, None]
    near = points - centers[owners]
    best, smallest = np.zeros(len(centers)), np.full(len(centers), np.inf)
    coarse = np.arange(0.0, 90.0, COARSE)
    for base, steps in ((None, coarse), (best, np.arange(-COARSE, COARSE + FINE, FINE))):
        start = np.zeros(len(centers)) if base is None else base.copy()
        for step in steps.tolist():
            size = _extent(near, owners, offsets, start + step).prod(axis=1)
            better = size < smallest
            best[better], smallest[better] = (start + step)[better], size[better]
    low, high = _bounds(near, owners, offsets, best)
    direction = _directions(best)
    across = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    box = upright_corners(np.concatenate([low, high], axis=1))
    turned = box[..., :1] * direction[:, None] + box[..., 1:] * across[:, None]
    corners: np.ndarray = rectangles_along(turned, direction) + centers[:, None]
    return corners


def _directions(angles: np.ndarray) -> np.ndarray:
    """(m, 2) unit vectors of angles (m,) in degrees."""
    radians = np.radians(angles)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1)


def _bounds(
    points: np.ndarray, owners: np.ndarray, offsets: np.ndarray, angles: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The lowest and highest positions (m, 2) of each object's points along its direction and across it."""
    direction = _directions(angles)[owners]
    frame = np.stack([(points * direction).sum(1), points[:, 1] * direction[:, 0] - points[:, 0] * direction[:, 1]], 1)
    return np.minimum.reduceat(frame, offsets[:-1]), np.maximum.reduceat(frame, offsets[:-1])


def _extent(points: np.ndarray, owners: np.ndarray, offsets: np.ndarray, angles: np.ndarray) -> np.ndarray:
    low, high = _bounds(points, owners, offsets, angles)
    return high - low
