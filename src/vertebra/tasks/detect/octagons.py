"""Octagons around objects: their boxes with the corners cut off as far as their outlines allow.

A rotated box is much larger than its object, a rotated octagon hardly: around a disk, at most by 8 % of its width, and not at all
along lines of 0, 45, 90 and 135 degrees. It is kept as four numbers for each object, the smallest and largest x + y and x - y.
"""

from __future__ import annotations

import numpy as np

from vertebra.annotations.shapes import Shapes

TOLERANCE = (2.0, 0.05)  # pixels, and a part of the side, by which a box may differ from that around its outline


def diagonals_of(shapes: Shapes, boxes: np.ndarray) -> np.ndarray:
    """How far outlines reach along the diagonals.

    Args:
        shapes: of B objects.
        boxes: (B, 4) xyxy.

    Returns:
        (B, 4): smallest and largest x + y, smallest and largest x - y; nan for an object without outlines, or with another box
        than theirs.
    """
    bounds = shapes.outline_bounds()
    diagonals = shapes.outline_bounds(((1.0, 1.0), (1.0, -1.0)))[:, [0, 2, 1, 3]]
    sides = np.tile(boxes[:, 2:] - boxes[:, :2], 2)
    fitting = (np.abs(bounds - boxes) <= TOLERANCE[0] + TOLERANCE[1] * sides).all(axis=1)
    return np.asarray(np.where(fitting[:, None], diagonals, np.nan))


def octagons(boxes: np.ndarray, diagonals: np.ndarray) -> np.ndarray:
    """The corners of the octagons, clockwise from the top left; those of the box, each twice, where diagonals are nan.

    Args:
        boxes: (M, 4) xyxy.
        diagonals: (M, 4) of `diagonals_of`.

    Returns:
        (M, 8, 2) float32 of x, y.
    """
    left, top, right, bottom = boxes.astype(np.float32).T
    known = ~np.isnan(diagonals)
    outer = np.stack([left + top, right + bottom, left - bottom, right - top], axis=1)
    low_sum, high_sum, low_difference, high_difference = np.where(known, diagonals, outer).T
    across = [low_sum - top, high_difference + top, high_sum - bottom, low_difference + bottom]
    down = [low_sum - left, right - high_difference, high_sum - right, left - low_difference]
    x_of = [np.clip(values, left, right) for values in across]
    y_of = [np.clip(values, top, bottom) for values in down]
    corners = [
        (left, y_of[0]), (x_of[0], top), (x_of[1], top), (right, y_of[1]),
        (right, y_of[2]), (x_of[2], bottom), (x_of[3], bottom), (left, y_of[3]),
    ]  # fmt: skip
    return np.stack([np.stack(corner, axis=1) for corner in corners], axis=1).astype(np.float32)
