"""Pixels near the boundaries of annotated regions (numpy only)."""

from __future__ import annotations

import numpy as np

BOUNDARY_SHARE = 0.01  # distance from a boundary that counts as near, as a share of the image's diagonal


def boundary_distance(size: tuple[int, int]) -> int:
    """The distance that counts as near, in pixels, for an image of (height, width)."""
    return max(1, round(BOUNDARY_SHARE * float(np.hypot(*size))))


def near_boundary(mask: np.ndarray, ignore_index: int, distance: int) -> np.ndarray:
    """The pixels near a boundary of two classes (a trimap, Kohli et al., Robust Higher Order Potentials, CVPR 2008).

    Edges of ignored pixels and of the image are no boundaries.

    Args:
        mask: (H, W) of class ids.
        ignore_index: value of ignored pixels.
        distance: from the pixels on both sides of a boundary, along both axes, in pixels; 0 for these pixels alone.

    Returns:
        (H, W) bool.
    """
    counted = mask != ignore_index
    edges = np.zeros(mask.shape, dtype=bool)
    for axis in (0, 1):
        first, second = (_without(mask, axis, end) for end in (-1, 0))
        differs = (first != second) & _without(counted, axis, -1) & _without(counted, axis, 0)
        for end in (-1, 0):
            _without(edges, axis, end)[:] |= differs
    for axis in (0, 1):
        edges = _dilate(edges, axis, distance)
    return edges


def _without(array: np.ndarray, axis: int, end: int) -> np.ndarray:
    """A view without the first (0) or the last (-1) row or column."""
    part = slice(None, -1) if end else slice(1, None)
    view: np.ndarray = array[part] if axis == 0 else array[:, part]
    return view


def _dilate(array: np.ndarray, axis: int, distance: int) -> np.ndarray:
    """True within a distance of a true pixel, along one axis."""
    count = array.shape[axis]
    totals = np.insert(np.cumsum(array, axis=axis, dtype=np.int32), 0, 0, axis=axis)
    ends = np.minimum(np.arange(count) + distance + 1, count)
    starts = np.maximum(np.arange(count) - distance, 0)
    dilated: np.ndarray = np.take(totals, ends, axis=axis) > np.take(totals, starts, axis=axis)
    return dilated
