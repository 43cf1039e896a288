"""Weighted boxes fusion: one list of objects from the boxes of several views of an image (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.box_iou import iou

MERGE_IOU = 0.55  # intersection over union, as in the paper
MIN_SCORE = 1e-9  # weight of a box or point with score 0, so that its coordinates are kept


class WeightedBoxesFusion:
    """Weighted boxes fusion of the boxes of an image's views, added view by view.

    The boxes of a view are paired with the objects so far of the same class, one to one, largest overlap first. The box of an
    object is the mean of its boxes, weighted by their scores. Its score is the sum of their scores divided by the number of
    views, so a view without the object counts as 0.

    Source: Solovyev, Wang and Gabruseva, Weighted boxes fusion: ensembling boxes from different object detection models,
    Image and Vision Computing 2021, arXiv 1910.13302. Differences: an object takes at most one box of each view, so two boxes
    of one view stay two objects, and equal views give the boxes of one of them.

    Args:
        merge_iou: minimum intersection over union of the boxes of one object.
    """

    def __init__(self, merge_iou: float = MERGE_IOU) -> None:
        self.merge_iou = merge_iou
        self.view_count = 0
        self.labels = np.zeros(0, dtype=np.int64)
        self._weights = np.zeros(0)
        self._sums = np.zeros((0, 4))

    def __len__(self) -> int:
        """Number of objects so far."""
        return len(self.labels)

    @property
    def boxes(self) -> np.ndarray:
        """(C, 4) of the objects so far."""
        fused: np.ndarray = self._sums / self._weights[:, None]
        return fused

    @property
    def scores(self) -> np.ndarray:
        """(C,) of the objects so far."""
        return self._weights / self.view_count

    def add(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """Adds the boxes of one view.

        Args:
            boxes: (M, 4) xyxy, in the same pixels for all views.
            scores, labels: (M,).

        Returns:
            (M,) int64, the index of each box's object; all different.
        """
        self.view_count += 1
        overlap = iou(self.boxes[:, None], boxes[None])
        overlap[self.labels[:, None] != labels] = -1
        indices = greedy_match(overlap, self.merge_iou)
        new = np.flatnonzero(indices < 0)
        indices[new] = len(self) + np.arange(len(new))
        self.labels = np.concatenate([self.labels, labels[new]])
        self._weights, self._sums = append_zeros(self._weights, len(new)), append_zeros(self._sums, len(new))
        weights = np.maximum(scores, MIN_SCORE).astype(np.float64)
        self._weights[indices] += weights
        self._sums[indices] += weights[:, None] * boxes
        return indices

    def top(self, count: int) -> np.ndarray:
        """The indices of the best objects, ``count`` at most, best first."""
        order: np.ndarray = np.argsort(-self.scores, kind="stable")[:count]
        return order


def greedy_match(values: np.ndarray, minimum: float) -> np.ndarray:
    """Pairs rows with columns one to one, largest values first.

    Each round takes all pairs that are the largest in both their row and their column, so few rounds are needed.

    Args:
        values: (R, C).
        minimum: smaller values are never paired.

    Returns:
        (C,) int64, the row of each column, or -1.
    """
    rows = np.full(values.shape[1], -1, dtype=np.int64)
    if not values.size:
        return rows
    unmatched = np.where(values >= minimum, values, -np.inf)
    while True:
        best = unmatched.argmax(axis=0)
        columns = np.arange(len(best))
        mutual = (unmatched.argmax(axis=1)[best] == columns) & (unmatched[best, columns] > -np.inf)
        if not mutual.any():
            return rows
        rows[mutual] = best[mutual]
        unmatched[:, mutual] = -np.inf
        unmatched[best[mutual]] = -np.inf


def append_zeros(array: np.ndarray, count: int) -> np.ndarray:
    """An array (C, ...) followed by ``count`` rows of zeros."""
    return np.concatenate([array, np.zeros((count, *array.shape[1:]), dtype=array.dtype)])


def pad_rows(array: np.ndarray, length: int, value: float = 0) -> np.ndarray:
    """An array (C, ...) padded to (length, ...)."""
    filled = np.full((length, *array.shape[1:]), value, dtype=array.dtype)
    filled[: len(array)] = array
    return filled
