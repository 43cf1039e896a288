"""Outlines: polygons as run lengths, filled as COCO fills them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.data.run_lengths import decode_runs
from vertebra.errors import DataError

MARGIN = 64.0  # pixels beside the image where outlines are left as they are
LONGEST = 2_000_000  # pixels around an outline; COCO's code keeps five points for each


def outline_runs(outlines: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The pixels within any of some outlines, as COCO counts them.

    COCO's code walks along each outline in fifths of a pixel, wherever it goes, so that a point far away asks for
    gigabytes. Outlines are first cut to the image and a wide margin, within which nothing changes.

    Args:
        outlines: x, y, x, y … in pixels, each at least three points.
        size: (height, width) of the image.

    Returns:
        (R,) int64 run lengths.

    Raises:
        DataError: an outline goes to and fro for longer than any object does.
    """
    from faster_coco_eval.core import mask as coco_mask

    cut = [clip_outline(outline.astype(np.float64), size) for outline in outlines]
    cut = [outline for outline in cut if len(outline) >= 6]
    if not cut:
        return np.array([size[0] * size[1]], dtype=np.int64)
    if max(map(_length, cut)) > LONGEST:
        raise DataError(f"an outline is {max(map(_length, cut)):.0f} pixels long, at most {LONGEST} are drawn")
    merged = coco_mask.merge(coco_mask.frPyObjects([outline.tolist() for outline in cut], *size))
    counts = merged["counts"]
    letters = counts.encode("ascii") if isinstance(counts, str) else counts
    return decode_runs(np.frombuffer(letters, dtype=np.uint8))


def clip_outline(outline: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """An outline cut to a window around the image (Sutherland and Hodgman, "Reentrant Polygon Clipping", CACM 1974).

    The window reaches beyond the image by its own size and `MARGIN`; one that lies within is returned as it is.

    Args:
        outline: (2P,) float64 x, y, x, y …
        size: (height, width) of the image.

    Returns:
        (2Q,) float64; empty where nothing of it lies within the window.
    """
    points = outline[: len(outline) // 2 * 2].reshape(-1, 2)
    for axis, side in ((0, size[1]), (1, size[0])):
        for limit, sign in ((-side - MARGIN, 1.0), (2 * side + MARGIN, -1.0)):
            points = _cut(points, axis, limit, sign)
    return points.reshape(-1)


def _length(outline: np.ndarray) -> float:
    """The longer way of each edge, along x or y, in all."""
    points = outline[: len(outline) // 2 * 2].reshape(-1, 2)
    return float(np.abs(np.roll(points, -1, axis=0) - points).max(axis=1).sum())


def _cut(points: np.ndarray, axis: int, limit: float, sign: float) -> np.ndarray:
    """A polygon cut at one line: what lies beyond ``limit`` goes; ``sign`` is 1 for a lower limit and -1 for an upper."""
    inside = sign * (points[:, axis] - limit) >= 0
    if inside.all():
        return points
    following = np.roll(points, -1, axis=0)
    crosses = inside != np.roll(inside, -1)
    share = np.zeros(len(points))
    share[crosses] = (limit - points[crosses, axis]) / (following[crosses, axis] - points[crosses, axis])
    crossings = points + share[:, None] * (following - points)
    crossings[:, axis] = limit
    both = np.stack([points, crossings], axis=1).reshape(-1, 2)  # each point, then where its edge crosses
    kept: np.ndarray = both[np.stack([inside, crosses], axis=1).reshape(-1)]
    return kept
