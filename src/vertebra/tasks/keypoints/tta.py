"""The points of an image's objects out of those of several looks at it (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.weighted_boxes_fusion import MERGE_IOU, MIN_SCORE, Fusion, grown, padded

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class KeypointTTA:
    """The looks' objects on the plain canvas, paired and fused by their boxes; see `vertebra.tasks.weighted_boxes_fusion.Fusion`.

    In a mirrored look the points of each flip pair change places. A point lies at the mean of where the looks see it, weighted by
    how sure they are; its score is the mean over the looks that see the object.

    Args:
        labels: the points and classes.
        whole: whether there is one object, which fills the image: then it is the same in all looks, whatever its box.
    """

    def __init__(self, labels: KeypointLabels, whole: bool) -> None:
        self.fusion = Fusion(0.0 if whole else MERGE_IOU)
        self.labels = labels
        self.length = 0
        self._weights = np.zeros((0, len(labels.points)))
        self._sums = np.zeros((0, len(labels.points), 2))
        self._seen = np.zeros(0)

    def add(self, decoded: Sequence[np.ndarray], sight: ViewTransform) -> None:
        """What one look shows; see `vertebra.tasks.task.TTAMerger`."""
        positions, sure, boxes, scores, labels, real = decoded
        count = int(real)
        self.length = max(self.length, len(boxes))
        points, sure = sight.points(positions[:count]), np.asarray(sure[:count])
        if sight.mirrored:
            order = self.labels.mirrored
            points, sure = points[:, order], sure[:, order]
        indices = self.fusion.add(sight.boxes(boxes[:count]), scores[:count], labels[:count])
        new = len(self.fusion) - len(self._seen)
        self._weights, self._sums = grown(self._weights, new), grown(self._sums, new)
        self._seen = grown(self._seen, new)
        weights = np.maximum(sure, MIN_SCORE).astype(np.float64)
        self._weights[indices] += weights
        self._sums[indices] += weights[..., None] * points
        self._seen[indices] += 1

    def finish(self) -> list[np.ndarray]:
        """The decoded arrays of all looks together: as many objects as one look gives at most, best first."""
        best = self.fusion.best(self.length)
        points = self._sums[best] / self._weights[best][..., None]
        sure = self._weights[best] / self._seen[best, None]
        return [
            padded(points.astype(np.float32), self.length),
            padded(sure.astype(np.float32), self.length),
            padded(self.fusion.boxes[best].astype(np.float32), self.length),
            padded(self.fusion.scores[best].astype(np.float32), self.length),
            padded(self.fusion.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
        ]
