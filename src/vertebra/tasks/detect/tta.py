"""The boxes of an image out of those of several looks at it (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.weighted_boxes_fusion import Fusion, padded

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class DetectTTA:
    """The looks' boxes on the plain canvas, fused class by class; see `vertebra.tasks.weighted_boxes_fusion.Fusion`.

    Args:
        labels, whole: of no consequence here; taken because every task takes them.
    """

    def __init__(self, labels: DetectLabels, whole: bool) -> None:
        self.fusion = Fusion()
        self.length = 0

    def add(self, decoded: Sequence[np.ndarray], sight: ViewTransform) -> None:
        """What one look shows; see `vertebra.tasks.task.TTAMerger`."""
        boxes, scores, labels, real = decoded
        count = int(real)
        self.length = max(self.length, len(boxes))
        self.fusion.add(sight.boxes(boxes[:count]), scores[:count], labels[:count])

    def finish(self) -> list[np.ndarray]:
        """The decoded arrays of all looks together: as many boxes as one look gives at most, best first."""
        best = self.fusion.best(self.length)
        return [
            padded(self.fusion.boxes[best].astype(np.float32), self.length),
            padded(self.fusion.scores[best].astype(np.float32), self.length),
            padded(self.fusion.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
        ]
