"""Merges the values of boxes in several views of an image (test-time augmentation; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.weighted_boxes_fusion import MIN_SCORE, WeightedBoxesFusion, append_zeros, pad_rows

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class AttributeTTA:
    """Fuses the views' boxes as the branch with the boxes does; probabilities are means over the views, weighted by the score of
    the box.

    Args:
        labels: the values.
        whole: unused; every task takes it.
    """

    def __init__(self, labels: AttributeLabels, whole: bool) -> None:
        self.fusion = WeightedBoxesFusion()
        self.length = 0
        self._weights = np.zeros(0)
        self._sums = np.zeros((0, labels.class_count))

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`."""
        boxes, scores, labels, real, probabilities = decoded
        count = int(real)
        self.length = max(self.length, len(boxes))
        rows = self.fusion.add(view_transform.boxes(boxes[:count]), scores[:count], labels[:count])
        new = len(self.fusion) - len(self._weights)
        self._weights, self._sums = append_zeros(self._weights, new), append_zeros(self._sums, new)
        weights = np.maximum(scores[:count], MIN_SCORE).astype(np.float64)
        self._weights[rows] += weights
        self._sums[rows] += weights[:, None] * probabilities[:count]

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: at most as many boxes as one view has, best first."""
        best = self.fusion.top(self.length)
        probabilities = (self._sums[best] / self._weights[best, None]).astype(np.float32)
        return [
            pad_rows(self.fusion.boxes[best].astype(np.float32), self.length),
            pad_rows(self.fusion.scores[best].astype(np.float32), self.length),
            pad_rows(self.fusion.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
            pad_rows(probabilities, self.length),
        ]
