"""Converts polygons to run lengths, filled as in COCO."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.annotations.run_lengths import decode_runs
from vertebra.errors import DataError

MARGIN = 64.0  # pixels around the image where outlines are not clipped
LONGEST = 2_000_000  # maximum length of an outline in pixels; COCO's code stores five points for each


def outline_runs(outlines: Sequence[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The run lengths of the union of some outlines, as in COCO.

    COCO's code samples each outline in fifths of a pixel, so a point far away needs gigabytes. Outlines are first clipped to
    the image with a wide margin, which does not change the result.

    Args:
        outlines: x, y, x, y … in pixels, each at least three points.
        size: (height, width) of the image.

    Returns:
        (R,) int64 run lengths.

    Raises:
        DataError: an outline is longer than `LONGEST`.
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
    """An outline clipped to a window around the image (Sutherland and Hodgman, "Reentrant Polygon Clipping", CACM 1974).

    The window extends beyond the image by the image's size and `MARGIN`; an outline inside it is returned unchanged.

    Args:
        outline: (2P,) float64 x, y, x, y …
        size: (height, width) of the image.

    Returns:
        (2Q,) float64; empty if the outline is outside the window.
    """
    points = outline[: len(outline) // 2 * 2].reshape(-1, 2)
    for axis, side in ((0, size[1]), (1, size[0])):
        for limit, sign in ((-side - MARGIN, 1.0), (2 * side + MARGIN, -1.0)):
            points = _clip(points, axis, limit, sign)
    return points.reshape(-1)


def _length(outline: np.ndarray) -> float:
    """The sum over edges of the larger of their extents along x and y."""
    points = outline[: len(outline) // 2 * 2].reshape(-1, 2)
    return float(np.abs(np.roll(points, -1, axis=0) - points).max(axis=1).sum())


def _clip(points: np.ndarray, axis: int, limit: float, sign: float) -> np.ndarray:
    """A polygon clipped at one line, without the part beyond ``limit``; ``sign`` is 1 for a lower and -1 for an upper limit."""
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
