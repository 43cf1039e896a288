"""Merges the keypoints of several views of an image (test-time augmentation; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.weighted_boxes_fusion import MERGE_IOU, MIN_SCORE, WeightedBoxesFusion, append_zeros, pad_rows

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class KeypointTTA:
    """Fuses the views' objects on the plain canvas by their boxes; see
    `vertebra.tasks.weighted_boxes_fusion.WeightedBoxesFusion`.

    In a mirrored view the points of each flip pair are exchanged. A point is the mean of its positions in the views, weighted
    by their scores; its score is the mean over the views that have the object.

    Args:
        labels: the points and classes.
        whole: whether one object fills the image; it is then the same object in all views, whatever its box.
    """

    def __init__(self, labels: KeypointLabels, whole: bool) -> None:
        self.fusion = WeightedBoxesFusion(0.0 if whole else MERGE_IOU)
        self.labels = labels
        self.length = 0
        self._weights = np.zeros((0, len(labels.points)))
        self._sums = np.zeros((0, len(labels.points), 2))
        self._view_counts = np.zeros(0)

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`."""
        positions, point_scores, boxes, scores, labels, real = decoded
        count = int(real)
        self.length = max(self.length, len(boxes))
        points, point_scores = view_transform.points(positions[:count]), np.asarray(point_scores[:count])
        if view_transform.mirrored:
            order = self.labels.mirrored
            points, point_scores = points[:, order], point_scores[:, order]
        indices = self.fusion.add(view_transform.boxes(boxes[:count]), scores[:count], labels[:count])
        new = len(self.fusion) - len(self._view_counts)
        self._weights, self._sums = append_zeros(self._weights, new), append_zeros(self._sums, new)
        self._view_counts = append_zeros(self._view_counts, new)
        weights = np.maximum(point_scores, MIN_SCORE).astype(np.float64)
        self._weights[indices] += weights
        self._sums[indices] += weights[..., None] * points
        self._view_counts[indices] += 1

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: at most as many objects as one view has, best first."""
        best = self.fusion.top(self.length)
        points = self._sums[best] / self._weights[best][..., None]
        point_scores = self._weights[best] / self._view_counts[best, None]
        return [
            pad_rows(points.astype(np.float32), self.length),
            pad_rows(point_scores.astype(np.float32), self.length),
            pad_rows(self.fusion.boxes[best].astype(np.float32), self.length),
            pad_rows(self.fusion.scores[best].astype(np.float32), self.length),
            pad_rows(self.fusion.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
        ]
