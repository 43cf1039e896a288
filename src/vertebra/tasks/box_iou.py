"""How much boxes overlap, and which of many that overlap are kept (numpy only)."""

from __future__ import annotations

import numpy as np


def areas(boxes: np.ndarray) -> np.ndarray:
    """Areas (...,) of boxes (..., 4) xyxy; 0 for those that are inside out."""
    sides = np.clip(boxes[..., 2:] - boxes[..., :2], 0, None)
    product: np.ndarray = sides[..., 0] * sides[..., 1]
    return product


def shared(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Areas (...,) that boxes (..., 4) and (..., 4) xyxy have in common."""
    low, high = np.maximum(first[..., :2], second[..., :2]), np.minimum(first[..., 2:], second[..., 2:])
    return areas(np.concatenate([low, high], axis=-1))


def iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (...,) of boxes (..., 4) and (..., 4) xyxy; 0 where both are empty."""
    common = shared(first, second)
    union = areas(first) + areas(second) - common
    ratio: np.ndarray = common / np.maximum(union, 1e-9)
    return ratio


def survivors(order: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    """Greedy suppression: each, from the best on, is kept if none that was kept is paired with it.

    Each round decides all that have no better undecided one beside them, so that rounds are few.

    Args:
        order: (M,) of ranks, all different, 0 for the best.
        pairs: (P, 2) indices of those of which only one may stay.

    Returns:
        (M,) bool.
    """
    better, worse = _by_rank(order, pairs)
    kept = np.zeros(len(order), dtype=bool)
    open_ = np.ones(len(order), dtype=bool)
    while open_.any():
        waiting = np.zeros(len(order), dtype=bool)
        waiting[worse[open_[better]]] = True
        chosen = open_ & ~waiting
        kept |= chosen
        open_ &= waiting
        open_[worse[chosen[better]]] = False
    return kept


def _by_rank(order: np.ndarray, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    first, second = pairs.reshape(-1, 2).T
    prefetch = order[first] < order[second]
    return np.where(prefetch, first, second), np.where(prefetch, second, first)


def components(count: int, pairs: np.ndarray) -> np.ndarray:
    """Which of ``count`` nodes hang together.

    Args:
        pairs: (P, 2) indices of neighbors.

    Returns:
        (count,) int64: for each the least index of those that it hangs together with.
    """
    least = np.arange(count)
    first, second = pairs.reshape(-1, 2).T
    while True:
        lower = np.minimum(least[first], least[second])
        found = least.copy()
        np.minimum.at(found, first, lower)
        np.minimum.at(found, second, lower)
        found = found[found]
        if np.array_equal(found, least):
            return least
        least = found
