"""Overlap of boxes, and suppression and grouping of boxes that overlap (numpy only)."""

from __future__ import annotations

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (...,) of boxes (..., 4) xyxy; 0 for inverted boxes."""
    sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None)
    product: np.ndarray = sides[..., 0] * sides[..., 1]
    return product


def intersection(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas (...,) of the intersections of boxes (..., 4) and (..., 4) xyxy."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    return areas(np.concatenate([low, high], axis=-1))


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (...,) of boxes (..., 4) and (..., 4) xyxy; 0 where both are empty."""
    common = intersection(first, second)
    union = areas(first) + areas(second) - common
    ratio: np.ndarray = common / np.maximum(union, 1e-9)
    return ratio


def greedy_nms(ranks: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Greedy suppression: from the best on, an element is kept if it is paired with no element kept before it.

    Each round decides all elements that have no better undecided partner, so few rounds are needed.

    Args:
        ranks: (M,) all different, 0 for the best.
        pairs: (P, 2) indices of elements of which only one may be kept.

    Returns:
        (M,) bool, True for the elements that are kept.
    """
    better, worse = _by_rank(ranks, pairs)
    kept = np.zeros(len(ranks), dtype=bool)
    undecided = np.ones(len(ranks), dtype=bool)
    while undecided.any():
        has_better = np.zeros(len(ranks), dtype=bool)
        has_better[worse[undecided[better]]] = True
        chosen = undecided & ~has_better
        kept |= chosen
        undecided &= has_better
        undecided[worse[chosen[better]]] = False
    return kept


def _by_rank(ranks: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The better and the worse element of each pair."""
    first, second = pairs.reshape(-1, 2).T
    first_is_better = ranks[first] < ranks[second]
    return np.where(first_is_better, first, second), np.where(first_is_better, second, first)


def connected_components(count: int, pairs: np.ndarray) -> np.ndarray:
    """The connected component of each of ``count`` nodes.

    Args:
        pairs: (P, 2) indices of neighbors.

    Returns:
        (count,) int64, for each node the smallest index in its component.
    """
    roots = np.arange(count)
    first, second = pairs.reshape(-1, 2).T
    while True:
        lower = np.minimum(roots[first], roots[second])
        merged = roots.copy()
        np.minimum.at(merged, first, lower)
        np.minimum.at(merged, second, lower)
        merged = merged[merged]
        if np.array_equal(merged, roots):
            return roots
        roots = merged
