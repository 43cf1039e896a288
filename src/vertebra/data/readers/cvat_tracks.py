"""Tracks of CVAT: shapes between the frames that a file has, as CVAT interpolates them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from vertebra.data.readers.cvat_shapes import CvatShape


def shapes_by_frame(shapes: Sequence[CvatShape], frames: Sequence[int]) -> Iterator[tuple[int, CvatShape]]:
    """The shapes of a track on the frames of a task, without those that are outside.

    A shape lasts until the next one of the file, and the last one until the end of the task. In between, boxes, ellipses,
    skeletons and single points move evenly; outlines by `outline_between`; others stay.

    Args:
        shapes: in the file's order.
        frames: numbers of the frames of the task, ascending.
    """
    ordered = list({shape.frame: shape for shape in sorted(shapes, key=lambda one: one.frame)}.values())
    if not ordered:
        return
    numbers = np.asarray(frames, dtype=np.int64)
    firsts = np.searchsorted(numbers, [shape.frame for shape in ordered])
    lasts = [*firsts[1:].tolist(), len(numbers)]
    for index, (shape, first, last) in enumerate(zip(ordered, firsts.tolist(), lasts, strict=True)):
        if shape.outside:
            continue
        after = ordered[index + 1] if index + 1 < len(ordered) else None
        for frame in numbers[first:last].tolist():
            yield frame, shape if frame == shape.frame else _between(shape, after, frame)


def _between(shape: CvatShape, after: CvatShape | None, frame: int) -> CvatShape:
    if after is None or after.kind != shape.kind:
        return replace(shape, frame=frame)
    share = (frame - shape.frame) / (after.frame - shape.frame)
    if shape.kind == "skeleton":
        points = {name: _moved_point(spot, after.points.get(name, spot), share) for name, spot in shape.points.items()}
        return replace(shape, frame=frame, points=points)
    if shape.kind in ("polygon", "polyline"):
        numbers = outline_between(shape.numbers, after.numbers, share, closed=shape.kind == "polygon")
    elif shape.kind in ("box", "ellipse") or len(shape.numbers) == len(after.numbers) == 2:
        numbers = shape.numbers + (after.numbers - shape.numbers) * share
    else:
        numbers = shape.numbers
    turn = (after.angle - shape.angle + 180) % 360 - 180
    return replace(shape, frame=frame, numbers=numbers, angle=(shape.angle + turn * share) % 360)


def _moved_point(
    first: tuple[float, float, float], second: tuple[float, float, float], share: float
) -> tuple[float, float, float]:
    return (first[0] + (second[0] - first[0]) * share, first[1] + (second[1] - first[1]) * share, first[2])


def outline_between(before: np.ndarray, after: np.ndarray, share: float, *, closed: bool) -> np.ndarray:
    """An outline between two others, which may have different numbers of vertices.

    Each vertex is matched with the one at the nearest share of the other's length, and moves evenly towards it. Where several
    are matched with one, those that come nearer to each other than half of the mean edge are left out.

    Args:
        before, after: (2P,) and (2Q,) float64 x, y, x, y …
        share: 0 at ``before``, 1 at ``after``.
        closed: polygons, not lines.
    """
    left, right = before.reshape(-1, 2), after.reshape(-1, 2)
    if closed:
        left, right = np.concatenate([left, left[:1]]), np.concatenate([right, right[:1]])
    matches = _matches(_shares(left), _shares(right))
    pairs = np.array([(i, j) for i, chosen in enumerate(matches) for j in chosen], dtype=np.int64)
    points = left[pairs[:, 0]] + (right[pairs[:, 1]] - left[pairs[:, 0]]) * share
    starts = np.searchsorted(pairs[:, 0], np.arange(len(left)))
    kept: list[np.ndarray] = []
    for first, last in _segments(matches):
        a = int(starts[first])
        if first == last and len(matches[first]) > 1:  # one vertex before, several after
            line, b = right[matches[first][0] : matches[first][-1] + 1], a + len(matches[first]) - 1
        else:
            line, b = left[first : last + 1], int(starts[last])
        kept += _thinned(points[a : b + 1], _steps(line).sum() / (2 * len(line)))
    return np.concatenate(kept[:-1] if closed and len(kept) > 1 else kept)


def _steps(points: np.ndarray) -> np.ndarray:
    lengths: np.ndarray = np.hypot(*np.diff(points, axis=0).T)
    return lengths


def _shares(points: np.ndarray) -> np.ndarray:
    """The share of a line's length at each vertex."""
    lengths = np.concatenate([[0], np.cumsum(_steps(points))])
    shares: np.ndarray = lengths / lengths[-1] if lengths[-1] > 0 else lengths
    return shares


def _nearest(values: np.ndarray, sorted_values: np.ndarray) -> np.ndarray:
    """The index of the nearest of some sorted values for each value, of equal ones the first."""
    upper = np.searchsorted(sorted_values, values).clip(1, max(1, len(sorted_values) - 1))
    upper = np.minimum(upper, len(sorted_values) - 1)
    lower = np.maximum(upper - 1, 0)
    nearer = np.where(values - sorted_values[lower] <= sorted_values[upper] - values, lower, upper)
    first: np.ndarray = np.searchsorted(sorted_values, sorted_values[nearer])
    return first


def _matches(left: np.ndarray, right: np.ndarray) -> list[list[int]]:
    """The vertices after that each vertex before is matched with, ascending."""
    matches = [[int(j)] for j in _nearest(left, right)]
    unmatched = np.setdiff1d(np.arange(len(right)), [chosen[0] for chosen in matches])
    for j, i in zip(unmatched.tolist(), _nearest(right[unmatched], left).tolist(), strict=True):
        matches[i].append(j)
    return [sorted(chosen) for chosen in matches]


def _segments(matches: Sequence[Sequence[int]]) -> Iterator[tuple[int, int]]:
    """Runs of vertices before that are matched with one and the same vertex after; a vertex matched with several alone."""
    first = 0
    for i in range(1, len(matches) + 1):
        same = i < len(matches) and len(matches[i]) == len(matches[first]) == 1 and matches[i] == matches[first]
        if not same:
            yield first, i - 1
            first = i


def _thinned(points: np.ndarray, least: float) -> list[np.ndarray]:
    """The ends of a run of points, and those between that are far enough from the one before."""
    if len(points) == 1:
        return [points[0]]
    kept = [points[0]]
    for point in points[1:-1]:
        if np.hypot(*(point - kept[-1])) >= least:
            kept.append(point)
    if len(kept) == 1 and np.hypot(*(points[-1] - points[0])) < least:
        return [(points[0] + points[-1]) / 2]
    return [*kept, points[-1]]
