"""Rotated boxes: rectangles of any angle as their four corners, the same functions for numpy arrays and for tensors.

The corners of a rectangle are (4, 2) of x, y in pixels, in order around it; corners stay exact under every flip, turn, shift and
uniform scale. Its first side goes from the first to the second corner; `corners_of` writes them clockwise as the image is seen (y
points down), from the top left corner of the box before it was turned. Where an angle is given as a number, it is in degrees,
clockwise as the image is seen, that of the long side from the x axis, at least -90 and below 90: an object has no front here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = Any
"""A numpy array or a tensor; results are of the same kind."""

TINY = 1e-9
MIN_AREA = 1e-6  # square pixels of a visible part
SMALLER = (
    0.999  # part of an area from which another one is smaller, so that rounding does not decide between equal ones
)


def corners_of(center: Array, sides: Array, direction: Array) -> Array:
    """The corners of rectangles.

    Args:
        center: (..., 2) x, y.
        sides: (..., 2) lengths of the first and the second side.
        direction: (..., 2) unit vector along the first side; (1, 0) for an upright box.

    Returns:
        (..., 4, 2).
    """
    along = 0.5 * sides[..., :1] * direction
    across = 0.5 * sides[..., 1:] * _perpendicular(direction)
    return _stack([center - along - across, center + along - across, center + along + across, center - along + across])


def center_sides_direction(corners: Array) -> tuple[Array, Array, Array]:
    """The inverse of `corners_of`; the direction of a side without length is (0, 0).

    Args:
        corners: (..., 4, 2).

    Returns:
        (..., 2) each.
    """
    first, second = corners[..., 1, :] - corners[..., 0, :], corners[..., 3, :] - corners[..., 0, :]
    lengths = _stack([_length(first), _length(second)])[..., 0]
    return corners.mean(-2), lengths, first / lengths[..., :1].clip(TINY, None)


def areas(corners: Array) -> Array:
    """Areas (...) of rectangles (..., 4, 2) in square pixels."""
    _, sides, _ = center_sides_direction(corners)
    return sides[..., 0] * sides[..., 1]


def hulls(corners: Array) -> Array:
    """The upright boxes (..., 4) xyxy around polygons (..., P, 2); P is at least 1."""
    points = [corners[..., number, :] for number in range(corners.shape[-2])]
    low, high = points[0], points[0]
    for point in points[1:]:
        low, high = low.clip(None, point), high.clip(point, None)
    return _stack([low[..., 0], low[..., 1], high[..., 0], high[..., 1]], axis=-1)


def intersections(first: Array, second: Array) -> Array:
    """Area of the intersection of each rectangle of one set with each polygon of another, exact but for rounding.

    In the frame of a rectangle its inside is an upright box. The part of a polygon in that box has, at each x, the length of the
    sum of the heights of the polygon's edges there, cut to the box, with the sign of their direction. Summed over x that is an
    integral of a line cut at two heights for each edge: no corners are sorted, and sides that coincide need no special case.

    Args:
        first: (..., A, 4, 2) rectangles.
        second: (..., B, P, 2) polygons without crossing edges, as rectangles; leading dimensions broadcast.

    Returns:
        (..., A, B) in square pixels.
    """
    center, sides, direction = center_sides_direction(first)
    wide, high = (0.5 * sides[..., :, None, side] for side in (0, 1))
    along = direction[..., :, None, :]
    across = _perpendicular(along)
    points = []
    for number in range(second.shape[-2]):  # one by one, since each is an array of all pairs
        shifted = second[..., None, :, number, :] - center[..., :, None, :]
        points.append(((shifted * along).sum(-1), (shifted * across).sum(-1)))
    total: Any = 0.0
    for (x, y), (next_x, next_y) in zip(points, [*points[1:], points[0]], strict=True):
        start_x, end_x = x.clip(-wide, wide), next_x.clip(-wide, wide)
        slope = (next_y - y) / _nonzero(next_x - x)
        start = y + (start_x - x) * slope  # heights where the edge enters and leaves the box's width
        end = next_y + (end_x - next_x) * slope
        total = total + (end_x - start_x) * _mean_cut(start, end, high)
    return total.__abs__()


def rotated_iou(first: Array, second: Array) -> Array:
    """Intersection over union of each rectangle of one set with each rectangle of another; 0 where both are empty.

    Args:
        first: (..., A, 4, 2).
        second: (..., B, 4, 2); leading dimensions broadcast.

    Returns:
        (..., A, B) in 0..1.
    """
    of_first, of_second = areas(first)[..., :, None], areas(second)[..., None, :]
    common = intersections(first, second).clip(None, of_first).clip(None, of_second)
    return common / (of_first + of_second - common).clip(TINY, None)


def enclosing_rectangles(points: Array) -> Array:
    """The smallest rectangle around each group of points, with an area at most 0.1 % above the smallest. The corners of a rectangle
    stay the same, but may be in another order.

    A side of the smallest rectangle lies on a side of the points' hull (Freeman and Shapira, Determining the minimum-area encasing
    rectangle for an arbitrary closed curve, CACM 1975), so the directions of all pairs of points are tried.

    Args:
        points: (..., P, 2), P at most a few.

    Returns:
        (..., 4, 2), as `corners_of` orders them.
    """
    count = points.shape[-2]
    best: Any = None
    smallest: Any = None
    for first in range(count):
        for second in range(first + 1, count):
            edge = points[..., second, :] - points[..., first, :]
            length = _length(edge)
            none = (length <= TINY) * 1.0
            rectangle = rectangles_along(points, edge / length.clip(TINY, None) * (1 - none) + _upright(edge) * none)
            size = areas(rectangle)
            if best is None:
                best, smallest = rectangle, size
                continue
            better = (size < SMALLER * smallest) * 1.0
            best = best + better[..., None, None] * (rectangle - best)
            smallest = smallest + better * (size - smallest)
    return best


def rectangles_along(points: Array, direction: Array) -> Array:
    """The smallest rectangles around points whose first side has a direction.

    Args:
        points: (..., P, 2).
        direction: (..., 2) unit vectors.

    Returns:
        (..., 4, 2).
    """
    across = _perpendicular(direction)
    frame = _stack([(points * direction[..., None, :]).sum(-1), (points * across[..., None, :]).sum(-1)], axis=-1)
    box = hulls(frame)
    middle, sides = 0.5 * (box[..., :2] + box[..., 2:]), box[..., 2:] - box[..., :2]
    return corners_of(middle[..., :1] * direction + middle[..., 1:] * across, sides, direction)


def upright_corners(boxes: Array) -> Array:
    """The corners (..., 4, 2) of upright boxes (..., 4) xyxy, from the top left, clockwise."""
    left, top, right, bottom = (boxes[..., side] for side in range(4))
    rows = [_stack(corner, axis=-1) for corner in ([left, top], [right, top], [right, bottom], [left, bottom])]
    return _stack(rows)


def degrees(corners: np.ndarray) -> np.ndarray:
    """The angles (...) of the long sides of rectangles (..., 4, 2): degrees, clockwise as the image is seen, -90 <= angle < 90."""
    _, sides, direction = center_sides_direction(np.asarray(corners, dtype=np.float64))
    across = np.stack([-direction[..., 1], direction[..., 0]], axis=-1)
    long = np.where((sides[..., :1] >= sides[..., 1:]), direction, across)
    angle = np.degrees(np.arctan2(long[..., 1], long[..., 0]))
    folded: np.ndarray = (angle + 90) % 180 - 90
    return folded


def clipped_rectangles(corners: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Rectangles around the visible parts of rectangles, with the same directions.

    Args:
        corners: (M, 4, 2) in pixels.
        size: (height, width) of the visible part, from 0, 0.

    Returns:
        (M, 4, 2) float32; and (M,) float64, the visible parts of their areas, which are polygons.
    """
    wide = np.asarray(corners, dtype=np.float64).reshape(-1, 4, 2)
    limits = np.array([size[1], size[0]], dtype=np.float64)
    inside = ((wide >= 0) & (wide <= limits)).all(axis=(1, 2))
    frame = upright_corners(np.array([[0, 0, *limits]]))
    shown = np.where(inside, areas(wide), intersections(frame, wide)[0])
    result = wide.copy()
    for row in np.flatnonzero(~inside & (shown > MIN_AREA)).tolist():
        part = _cut_polygon(wide[row], limits)
        _, _, direction = center_sides_direction(wide[row])
        result[row] = rectangles_along(part, direction)
    return result.astype(np.float32), shown


def _cut_polygon(points: np.ndarray, limits: np.ndarray) -> np.ndarray:
    """The corners of the part of a convex polygon (P, 2) inside of 0, 0 and ``limits``."""
    for axis in (0, 1):
        for limit, sign in ((0.0, 1.0), (float(limits[axis]), -1.0)):
            depth = sign * (points[:, axis] - limit)
            following, next_depth = np.roll(points, -1, axis=0), np.roll(depth, -1)
            crosses = (depth >= 0) != (next_depth >= 0)
            share = np.where(crosses, depth / np.where(crosses, depth - next_depth, 1), 0)
            both = np.stack([points, points + share[:, None] * (following - points)], axis=1).reshape(-1, 2)
            points = both[np.stack([depth >= 0, crosses], axis=1).reshape(-1)]
    return points


def _mean_cut(start: Array, end: Array, limit: Array) -> Array:
    """The mean of a line from ``start`` to ``end`` that is cut at plus and minus ``limit``."""
    rise = end - start
    safe = _nonzero(rise)
    low, high = ((-limit - start) / safe).clip(0, 1), ((limit - start) / safe).clip(0, 1)
    first, second = low.clip(None, high), low.clip(high, None)  # where it crosses the limits, as shares of the line
    values = [(start + share * rise).clip(-limit, limit) for share in (first, second)]
    start, end = start.clip(-limit, limit), end.clip(-limit, limit)
    total = first * (start + values[0]) + (second - first) * (values[0] + values[1]) + (1 - second) * (values[1] + end)
    return 0.5 * total


def _nonzero(values: Array) -> Array:
    """Values with 1 in place of 0, to divide by."""
    return values + (values == 0) * 1.0


def _perpendicular(direction: Array) -> Array:
    """Vectors (..., 2) turned by a quarter, clockwise as the image is seen."""
    return _stack([-direction[..., 1], direction[..., 0]], axis=-1)


def _upright(like: Array) -> Array:
    """(..., 2) the vectors (1, 0)."""
    return _stack([like[..., 0] * 0 + 1, like[..., 0] * 0], axis=-1)


def _length(vectors: Array) -> Array:
    """Lengths (..., 1) of vectors (..., 2)."""
    return (vectors * vectors).sum(-1)[..., None] ** 0.5


def _stack(values: Sequence[Any], axis: int = -2) -> Any:
    """A new axis, by default the one before the last."""
    if isinstance(values[0], np.ndarray | np.generic):
        return np.stack(values, axis=axis)
    import torch

    return torch.stack(list(values), dim=axis)
