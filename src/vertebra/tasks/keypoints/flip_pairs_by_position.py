"""Left-right pairs of points, by their positions on many objects (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.keypoints.flip_pairs_by_name import Pairs

MIN_OBJECTS = 20
MAX_OBJECTS = 1000
MIN_POINTS = 4  # three points that happen to be nearly isosceles are common
RESIDUAL = 0.06  # maximum distance of a mirrored point from its partner, as a share of the mean shape's radius
UNIQUE = 3.0  # minimum ratio of any other mirror line's residual to the best one's
ANGLES = 180
ITERATIONS = 8


def pairs_by_position(points: np.ndarray) -> Pairs | None:
    """Pairs of points that are mirrored about the mid-line of the mean object; None if they are ambiguous.

    The objects are aligned (shifted, rotated, scaled; never mirrored), and their median shape is mirrored at every line through
    its center. The pairs are those of the line that maps every point onto a point, in both directions. Two halves of the
    objects must give the same pairs, and no other line may fit nearly as well: the corners of a rectangle have two such lines.

    Args:
        points: (M, K, 3) x, y, visibility; unlabeled points (0) are ignored.
    """
    if points.shape[1] < MIN_POINTS:
        return None
    labeled = points[..., 2] > 0
    enough = labeled.sum(axis=1) >= max(MIN_POINTS, points.shape[1] / 2)
    chosen = np.flatnonzero(enough)
    if len(chosen) < MIN_OBJECTS:
        return None
    chosen = chosen[np.unique(np.linspace(0, len(chosen) - 1, MAX_OBJECTS).astype(int))]
    positions = points[chosen, :, 0].astype(float) + 1j * points[chosen, :, 1]
    orders = [_mirror_order(positions[half::2], labeled[chosen][half::2]) for half in (0, 1)]
    if orders[0] is None or orders[0] != orders[1]:
        return None
    return tuple((point, partner) for point, partner in enumerate(orders[0]) if point < partner) or None


def _mirror_order(positions: np.ndarray, labeled: np.ndarray) -> tuple[int, ...] | None:
    """For each point its partner (itself on the mid-line), or None.

    Args:
        positions: (M, K) complex.
        labeled: (M, K) bool.
    """
    if (labeled.sum(axis=0) < MIN_OBJECTS / 4).any():
        return None
    shape = _median_shape(positions, labeled)
    if shape is None:
        return None
    scores = {order: _residual(shape, order) for order in _mirror_orders(shape)}
    if not scores:
        return None
    best, *rest = sorted(scores, key=lambda order: scores[order])
    unique = all(scores[other] > UNIQUE * max(scores[best], RESIDUAL / 3) for other in rest)
    return best if scores[best] < RESIDUAL and unique and _beyond_doubt(shape, best) else None


def _median_shape(positions: np.ndarray, labeled: np.ndarray) -> np.ndarray | None:
    """The median of all aligned shapes: (K,) complex, centered, of radius 1; None if a point is labeled on no object.

    Gower, Generalized Procrustes Analysis, Psychometrika 1975; differences: medians, missing points, no mirroring.
    """
    first = int(labeled.sum(axis=1).argmax())
    shape, known = positions[first], labeled[first].copy()
    for _ in range(ITERATIONS):
        both = labeled & known
        laid = _laid_over(positions, shape, both)
        laid[~labeled | (both.sum(axis=1) < 2)[:, None]] = np.nan
        known = np.isfinite(laid).any(axis=0)
        if not known.any():
            return None
        shape = np.where(known, 0, np.nan) + 0j
        shape[known] = np.nanmedian(laid.real[:, known], axis=0) + 1j * np.nanmedian(laid.imag[:, known], axis=0)
        radius = np.sqrt(np.mean(np.abs(shape[known] - shape[known].mean()) ** 2))
        if not radius > 0:
            return None
        shape = (shape - shape[known].mean()) / radius
    return shape if known.all() else None


def _laid_over(positions: np.ndarray, shape: np.ndarray, both: np.ndarray) -> np.ndarray:
    """Each object (M, K) shifted, rotated and scaled onto a shape (K,), by least squares over the points in ``both`` (M, K)."""
    count = np.maximum(both.sum(axis=1, keepdims=True), 1)
    centers = np.where(both, positions, 0).sum(axis=1, keepdims=True) / count
    targets = np.where(both, shape, 0).sum(axis=1, keepdims=True) / count
    centered, goal = np.where(both, positions - centers, 0), np.where(both, shape - targets, 0)
    size = (np.abs(centered) ** 2).sum(axis=1, keepdims=True)
    turn = np.where(size > 0, (centered.conj() * goal).sum(axis=1, keepdims=True) / np.maximum(size, 1e-12), np.nan)
    laid: np.ndarray = turn * (positions - centers) + targets
    return laid


def _mirror_orders(shape: np.ndarray) -> set[tuple[int, ...]]:
    """For all mirror lines through the center that pair the points mutually nearest: the partner of each point."""
    turns = np.exp(2j * np.pi * np.arange(ANGLES) / ANGLES)
    distances = np.abs(turns[:, None, None] * shape.conj()[None, :, None] - shape[None, None, :])
    nearest = distances.argmin(axis=2)
    back = np.take_along_axis(nearest, nearest, axis=1)
    mutual = (back == np.arange(len(shape))).all(axis=1)
    return {tuple(order) for order in nearest[mutual].tolist()}


def _mirrored(shape: np.ndarray, order: tuple[int, ...]) -> np.ndarray:
    """The shape mirrored at the line that fits the pairs best."""
    product = (shape[list(order)] * shape).sum()
    turned: np.ndarray = product / max(abs(product), 1e-12) * shape.conj()
    return turned


def _residual(shape: np.ndarray, order: tuple[int, ...]) -> float:
    return float(np.sqrt(np.mean(np.abs(_mirrored(shape, order) - shape[list(order)]) ** 2)))


def _beyond_doubt(shape: np.ndarray, order: tuple[int, ...]) -> bool:
    """Whether every mirrored point is at least twice as close to its partner as to any other point."""
    distances = np.abs(_mirrored(shape, order)[:, None] - shape[None])
    partner_distances = np.take_along_axis(distances, np.array(order)[:, None], axis=1)[:, 0]
    np.put_along_axis(distances, np.array(order)[:, None], np.inf, axis=1)
    return bool((2 * partner_distances < distances.min(axis=1)).all())
