"""What readers of points share: boxes and areas where a file gives none, and left and right."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.data.index import Note
from vertebra.tasks.keypoints.flip_pairs_by_name import Pairs, pairs_by_name

MARGIN = 0.1  # a box around points is grown by this share of its longer side, on each side
AREA_SHARE = (
    0.53  # of its box an object fills about so much: people in COCO do, and MMPose takes it where no area is given
)
ALONE = 32.0  # side in pixels of the box around a single point, where no object of a data set has two


def boxes_around(points: np.ndarray, margin: float = MARGIN) -> np.ndarray:
    """Boxes around the labeled points of objects.

    An object with a single point, or several on one spot, gets a square of the median object's longer side around it.

    Args:
        points: (M, K, 3) x, y, visibility.
        margin: how much boxes are grown on each side, as a share of the longer side.

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
    """(M,) float32 areas of objects of which only the boxes (M, 4) are known."""
    areas: np.ndarray = (boxes[:, 2:] - boxes[:, :2]).prod(axis=1) * AREA_SHARE
    return areas.astype(np.float32)


def sides(points: Sequence[str], notes: list[Note]) -> Pairs | None:
    """The left-right pairs by the points' names, with a note of them; None where the names leave a point undecided."""
    pairs = pairs_by_name(points)
    if pairs is not None:
        names = [f"{points[left]} and {points[right]}" for left, right in pairs]
        notes.append(Note.of("pair", "of left and right", "taken from the names of the points", names))
    return pairs
