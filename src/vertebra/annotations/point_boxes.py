"""Boxes and areas of objects that have only points."""

from __future__ import annotations

import numpy as np

MARGIN = 0.1  # enlargement of a box around points on each side, as a share of its longer side
AREA_SHARE = (
    0.53  # area of an object as a share of its box: the mean of people in COCO, also MMPose's default for missing areas
)
ALONE = 32.0  # side in pixels of the box around a single point if all objects of a data set have one point


def boxes_around(points: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Boxes around the labeled points of objects.

    An object with a single point, or several at one position, gets a square with the median object's longer side.

    Args:
        points: (M, K, 3) x, y, visibility.
        margin: enlargement of boxes on each side, as a share of the longer side.

    Returns:
        (M, 4) float32 xyxy; 0 for objects without a labeled point.
    """
    known = points[..., 2:] > 0
    low = np.where(known, points[..., :2], np.inf).min(axis=1, initial=np.inf)
    high = np.where(known, points[..., :2], -np.inf).max(axis=1, initial=-np.inf)
    there = known[..., 0].any(axis=1, keepdims=True)
    low, high = np.where(there, low, 0), np.where(there, high, 0)
    longer = (high - low).max(axis=1, initial=0)
    typical = float(np.median(longer[longer > 0])) if (longer > 0).any() else ALONE / (1 + 2 * margin)
    grown = np.where(longer > 0, margin * longer, (0.5 + margin) * typical)[:, None]
    boxes: np.ndarray = np.where(there, np.concatenate([low - grown, high + grown], axis=1), 0).astype(np.float32)
    return boxes


def box_area_shares(boxes: np.ndarray) -> np.ndarray:
    """(M,) float32 estimated areas of objects from their boxes (M, 4)."""
    areas: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * AREA_SHARE
    return areas.astype(np.float32)
