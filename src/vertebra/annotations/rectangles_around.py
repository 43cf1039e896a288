"""The smallest rectangles around the outlines and run lengths of objects."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.shapes import Shapes
from vertebra.geometry.rectangles import enclosing_rectangles, rectangles_along, upright_corners

FOUR_CORNERS = 8  # numbers of an outline with four points
COARSE, FINE = 1.0, 0.05  # degrees between the directions that are tried for outlines of more points


def is_quadrilateral(shapes: Shapes) -> np.ndarray:
    """(B,) bool, whether an object has one outline, of four points."""
    lengths = shapes.outlines[shapes.outlines_of[1:]] - shapes.outlines[shapes.outlines_of[:-1]]
    one: np.ndarray = (np.diff(shapes.outlines_of) == 1) & (lengths == FOUR_CORNERS)
    return one


def rectangles_around(shapes: Shapes) -> np.ndarray:
    """The smallest rectangles around objects: exact for one outline of four points, and for more within 0.05 degrees.

    Args:
        shapes: of B objects.

    Returns:
        (B, 4, 2) float64 of x, y; nan for an object without an outline or run lengths.
    """
    corners = np.full((len(shapes), 4, 2), np.nan)
    starts, ends = shapes.outlines[shapes.outlines_of[:-1]], shapes.outlines[shapes.outlines_of[1:]]
    four = is_quadrilateral(shapes)
    corners[four] = enclosing_rectangles(quadrilaterals(shapes, four))
    rest = np.flatnonzero((ends > starts) & ~four)
    encoded = np.flatnonzero((np.diff(shapes.runs_of) > 0) | (np.diff(shapes.text_of) > 0))
    if len(rest):
        first, last = starts[rest] // 2, ends[rest] // 2
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


def quadrilaterals(shapes: Shapes, chosen: np.ndarray) -> np.ndarray:
    """(m, 4, 2) float64, the corners of the objects (B,) bool, of which each has one outline, of four points."""
    starts = shapes.outlines[shapes.outlines_of[:-1][chosen]]
    points: np.ndarray = shapes.points[starts[:, None] + np.arange(FOUR_CORNERS)].reshape(-1, 4, 2)
    return points.astype(np.float64)


def _border_points(shapes: Shapes, number: int) -> np.ndarray:
    """(P, 2) the corners of the first and last pixel in each row of an object's run lengths; P is 0 without a pixel."""
    size = (int(shapes.sizes[number, 0]), int(shapes.sizes[number, 1]))
    mask, left, top = shapes.region(number, size).patch()
    if not mask.size:
        return np.zeros((0, 2))
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
    extent: np.ndarray = high - low
    return extent
