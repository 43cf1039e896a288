"""Merges the rotated boxes of several views of an image (test-time augmentation; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.geometry.rectangles import enclosing_rectangles, hulls, rotated_iou
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.weighted_boxes_fusion import MIN_SCORE, append_zeros, greedy_match, pad_rows

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform

MERGE_IOU = 0.55  # rotated; as in `vertebra.tasks.weighted_boxes_fusion`


class RotatedBoxTTA:
    """Fuses the views' boxes on the plain canvas, class by class, as `vertebra.tasks.weighted_boxes_fusion.WeightedBoxesFusion`
    does, by rotated IoU. The corners of a fused box are the means of its boxes' corners, each box turned in order to the nearest
    corners of the first, and the smallest rectangle around them.

    Args:
        labels, whole: unused; every task takes them.
    """

    def __init__(self, labels: RotatedBoxLabels, whole: bool) -> None:
        self.length = self.view_count = 0
        self.labels = np.zeros(0, dtype=np.int64)
        self._weights = np.zeros(0)
        self._sums = np.zeros((0, 4, 2))

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`."""
        canvas_corners, _, scores, labels, real = decoded
        count = int(real)
        self.length = max(self.length, len(canvas_corners))
        self.view_count += 1
        corners = view_transform.points(canvas_corners[:count]).astype(np.float64)
        overlap = rotated_iou(self._corners, corners)
        overlap[self.labels[:, None] != labels[:count]] = -1
        numbers = greedy_match(overlap, MERGE_IOU)
        new = np.flatnonzero(numbers < 0)
        before = len(self.labels)
        numbers[new] = before + np.arange(len(new))
        corners = np.where((numbers < before)[:, None, None], self._aligned(corners, numbers), corners)
        self.labels = np.concatenate([self.labels, labels[:count][new]])
        self._weights, self._sums = append_zeros(self._weights, len(new)), append_zeros(self._sums, len(new))
        weights = np.maximum(scores[:count], MIN_SCORE).astype(np.float64)
        self._weights[numbers] += weights
        self._sums[numbers] += weights[:, None, None] * corners

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: at most as many boxes as one view has, best first."""
        fused_scores = self._weights / max(self.view_count, 1)
        best = np.argsort(-fused_scores, kind="stable")[: self.length]
        corners = enclosing_rectangles(self._corners[best]).astype(np.float32)
        return [
            pad_rows(corners, self.length),
            pad_rows(hulls(corners), self.length),
            pad_rows(fused_scores[best].astype(np.float32), self.length),
            pad_rows(self.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
        ]

    @property
    def _corners(self) -> np.ndarray:
        """(C, 4, 2) of the objects so far."""
        corners: np.ndarray = self._sums / self._weights[:, None, None]
        return corners

    def _aligned(self, corners: np.ndarray, numbers: np.ndarray) -> np.ndarray:
        """Corners (M, 4, 2) in the order, forwards or backwards, that is nearest to the corners of the objects ``numbers`` (M,)."""
        if not len(self.labels):
            return corners
        wanted = self._corners[np.minimum(numbers, len(self.labels) - 1)]
        orders = [np.roll(order, shift) for order in (np.arange(4), np.arange(4)[::-1]) for shift in range(4)]
        candidates = np.stack([corners[:, order] for order in orders])
        nearest = ((candidates - wanted) ** 2).sum(axis=(2, 3)).argmin(axis=0)
        aligned: np.ndarray = candidates[nearest, np.arange(len(corners))]
        return aligned
