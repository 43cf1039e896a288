"""The objects that several looks at one image find, as one list (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.box_iou import iou

MERGE_IOU = 0.55  # intersection over union, as in the paper
MIN_SCORE = 1e-9  # weight of what has score 0, so that its place is kept


class Fusion:
    """Weighted boxes fusion of what looks at one image find, look by look.

    A look's boxes are paired with the objects known so far, of the same class, each with one, and those that overlap most first.
    The box of an object is the mean of its boxes weighted by their scores. Its score is the sum of theirs by the number
    of looks, so that a look which does not see it counts as 0.

    Source: Solovyev, Wang and Gabruseva, Weighted boxes fusion: ensembling boxes from different object detection models,
    Image and Vision Computing 2021, arXiv 1910.13302. Different from there, an object takes no more than one box of each look:
    what one look says are two objects stay two, and looks that say the same give what one of them says.

    Args:
        same: least intersection over union of the boxes of one object.
    """

    def __init__(self, same: float = MERGE_IOU) -> None:
        self.same = same
        self.views = 0
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
        return self._weights / self.views

    def add(self, boxes: np.ndarray, scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
        """What one look finds.

        Args:
            boxes: (M, 4) xyxy, of all looks in the same pixels.
            scores, labels: (M,).

        Returns:
            (M,) int64, the number of the object that each is; all different.
        """
        self.views += 1
        overlap = iou(self.boxes[:, None], boxes[None])
        overlap[self.labels[:, None] != labels] = -1
        own = pair(overlap, self.same)
        new = np.flatnonzero(own < 0)
        own[new] = len(self) + np.arange(len(new))
        self.labels = np.concatenate([self.labels, labels[new]])
        self._weights, self._sums = grown(self._weights, len(new)), grown(self._sums, len(new))
        weights = np.maximum(scores, MIN_SCORE).astype(np.float64)
        self._weights[own] += weights
        self._sums[own] += weights[:, None] * boxes
        return own

    def best(self, count: int) -> np.ndarray:
        """The numbers of the best objects, ``count`` at most, best first."""
        order: np.ndarray = np.argsort(-self.scores, kind="stable")[:count]
        return order


def pair(values: np.ndarray, least: float) -> np.ndarray:
    """Pairs rows with columns, each with one at most, those of the largest values first.

    Each round takes all pairs that are the largest in both their row and their column, so that rounds are few.

    Args:
        values: (R, C).
        least: pairs of smaller values are none.

    Returns:
        (C,) int64, the row of each column, or -1.
    """
    rows = np.full(values.shape[1], -1, dtype=np.int64)
    if not values.size:
        return rows
    open_ = np.where(values >= least, values, -np.inf)
    while True:
        best = open_.argmax(axis=0)
        columns = np.arange(len(best))
        mutual = (open_.argmax(axis=1)[best] == columns) & (open_[best, columns] > -np.inf)
        if not mutual.any():
            return rows
        rows[mutual] = best[mutual]
        open_[:, mutual] = -np.inf
        open_[best[mutual]] = -np.inf


def grown(array: np.ndarray, count: int) -> np.ndarray:
    """An array (C, ...) with ``count`` rows of zeros after its own."""
    return np.concatenate([array, np.zeros((count, *array.shape[1:]), dtype=array.dtype)])


def padded(array: np.ndarray, length: int, value: float = 0) -> np.ndarray:
    """An array (C, ...) filled up to (length, ...)."""
    filled = np.full((length, *array.shape[1:]), value, dtype=array.dtype)
    filled[: len(array)] = array
    return filled
