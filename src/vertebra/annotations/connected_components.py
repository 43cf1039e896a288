"""Connected regions of pixels, and regions without their thin parts (numpy only)."""

from __future__ import annotations

import numpy as np


def connected_components(codes: np.ndarray) -> np.ndarray:
    """Numbers the connected regions of equal codes; pixels touch along their sides.

    Args:
        codes: (H, W) int; pixels below 0 belong to no region.

    Returns:
        (H, W) int64, 0 and up in the order of the regions' first pixels; -1 outside of regions.
    """
    inside = codes >= 0
    starts = inside.copy()  # of horizontal runs of one code
    starts[:, 1:] &= (codes[:, 1:] != codes[:, :-1]) | ~inside[:, :-1]
    runs = np.cumsum(starts.ravel()).reshape(codes.shape) - 1
    touching = inside[1:] & (codes[1:] == codes[:-1])
    count = int(runs[-1, -1]) + 1 if codes.size else 0
    pairs = np.unique(runs[:-1][touching] * count + runs[1:][touching])
    first_rows = first_of_groups(count, *np.divmod(pairs, max(count, 1)))
    _, numbers = np.unique(first_rows, return_inverse=True)
    components = np.full(codes.shape, -1, dtype=np.int64)
    components[inside] = numbers[runs[inside]]
    return components


def first_of_groups(count: int, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The first member of the group of each of ``count`` members.

    Args:
        count: number of members.
        left, right: (E,) pairs of members of one group.

    Returns:
        (count,) int64.
    """
    parents = np.arange(count)
    while True:
        ends = parents[left], parents[right]
        low, high = np.minimum(*ends), np.maximum(*ends)
        if not (low != high).any():
            return parents
        np.minimum.at(parents, high, low)
        while (parents[parents] != parents).any():
            parents = parents[parents]


def opened(codes: np.ndarray, radius: int) -> np.ndarray:
    """The pixels in a square that has one code: all but the thin parts of regions (morphological opening).

    Args:
        codes: (H, W) int.
        radius: of the square, whose side is 2 radius + 1. Beyond the image, its border repeats.

    Returns:
        (H, W) bool.
    """
    low = high = codes
    for axis in (0, 1):
        low, high = _extreme(np.minimum, low, axis, radius), _extreme(np.maximum, high, axis, radius)
    inside: np.ndarray = low == high
    for axis in (0, 1):
        inside = _extreme(np.maximum, inside, axis, radius)
    return inside


def _extreme(function: np.ufunc, values: np.ndarray, axis: int, radius: int) -> np.ndarray:
    """The minimum or maximum over a window of 2 radius + 1 along one axis."""
    padding = [(radius, radius) if each == axis else (0, 0) for each in (0, 1)]
    rows = np.moveaxis(np.pad(values, padding, mode="edge"), axis, 0)
    length, width = 2 * radius + 1, 1
    while 2 * width <= length:
        rows = function(rows[:-width], rows[width:])
        width *= 2
    if width < length:
        rows = function(rows[: len(rows) - (length - width)], rows[length - width :])
    return np.moveaxis(rows, 0, axis)
