"""Merges the objects of several views of an image (test-time augmentation; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from vertebra.tasks.instances.cells import resampled_mask
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.weighted_boxes_fusion import MIN_SCORE, WeightedBoxesFusion, pad_rows

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class _ViewMasks(NamedTuple):
    """The masks (M, S, S) of one view over boxes (M, 4) of the plain canvas, with scores (M,) and the object of each (M,)."""

    masks: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray
    objects: np.ndarray


class InstanceTTA:
    """Fuses the views' objects on the plain canvas by their boxes, class by class; see
    `vertebra.tasks.weighted_boxes_fusion.WeightedBoxesFusion`.

    The mask of an object is the mean of its masks over its fused box, weighted by their scores.

    Args:
        labels, whole: unused; every task takes them.
    """

    def __init__(self, labels: InstanceLabels, whole: bool) -> None:
        self.fusion = WeightedBoxesFusion()
        self.length, self.cells = 0, 0
        self._views: list[_ViewMasks] = []

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`."""
        masks, canvas_boxes, scores, labels, real = decoded
        count = int(real)
        self.length, self.cells = max(self.length, len(canvas_boxes)), masks.shape[-1]
        boxes = view_transform.boxes(canvas_boxes[:count])
        objects = self.fusion.add(boxes, scores[:count], labels[:count])
        shown = masks[:count, :, ::-1] if view_transform.mirrored else masks[:count]
        self._views.append(_ViewMasks(shown, boxes, scores[:count], objects))

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: at most as many objects as one view has, best first."""
        best = self.fusion.top(self.length)
        boxes = self.fusion.boxes[best].astype(np.float32)
        rank = np.full(len(self.fusion), -1)
        rank[best] = np.arange(len(best))
        sums = np.zeros((len(best), self.cells, self.cells), dtype=np.float32)
        weights = np.zeros(len(best), dtype=np.float32)
        for view in self._views:
            for row, number in enumerate(rank[view.objects].tolist()):
                if number >= 0:
                    weight = max(float(view.scores[row]), MIN_SCORE)
                    sums[number] += weight * resampled_mask(view.masks[row], view.boxes[row], boxes[number])
                    weights[number] += weight
        return [
            pad_rows(sums / weights[:, None, None], self.length),
            pad_rows(boxes, self.length),
            pad_rows(self.fusion.scores[best].astype(np.float32), self.length),
            pad_rows(self.fusion.labels[best], self.length, -1),
            np.array(len(best), dtype=np.int64),
        ]
