"""Merges the boxes of several views of an image (test-time augmentation; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.weighted_boxes_fusion import WeightedBoxesFusion, pad_rows

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class DetectTTA:
    """Fuses the views' boxes on the plain canvas, class by class; see
    `vertebra.tasks.weighted_boxes_fusion.WeightedBoxesFusion`.

    Args:
        labels, whole: unused; every task takes them.
    """

    def __init__(self, labels: DetectLabels, whole: bool) -> None:
        self.fusion = WeightedBoxesFusion()
        self.length = 0

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`."""
        boxes, scores, labels, real = decoded
        count = int(real)
        self.length = max(self.length, len(boxes))
        self.fusion.add(view_transform.boxes(boxes[:count]), scores[:count], labels[:count])

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: at most as many boxes as one view has, best first."""
        best = self.fusion.top(self.length)
        return [
            pad_rows(self.fusion.boxes[best].astype(np.float32), self.length),
            pad_rows(self.fusion.scores[best].astype(np.float32), self.length),
            pad_rows(self.fusion.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
        ]
