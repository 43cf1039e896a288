"""Metrics of the task of rotated boxes: COCO's, by rotated IoU."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np

from vertebra.tasks.detect.metrics import BoxMetric
from vertebra.tasks.metric import TaskMetric
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.rotated_ap import average_precision


def build_metric(labels: RotatedBoxLabels) -> TaskMetric:
    """The metric of rotated boxes."""
    return RotatedBoxMetric(labels)


class RotatedBoxMetric(BoxMetric):
    """COCO's average precision and recall by the IoU of rotated boxes, with the names and rules of
    `vertebra.tasks.detect.metrics.BoxMetric`; sizes are by the area of the rotated box.

    ``map_50`` differs from DOTA's mAP, which interpolates at 11 points and compares with the annotated quadrilaterals, not with the
    smallest rectangles around them.
    """

    meanings: ClassVar[Mapping[str, str]] = {
        name: text.replace("an IoU of", "a rotated IoU of").replace("IoU 0.50", "rotated IoU 0.50")
        for name, text in BoxMetric.meanings.items()
    }
    precision: ClassVar[Callable[..., dict[str, float]]] = staticmethod(average_precision)
    coordinates: ClassVar[int] = 8

    def positions(self, objects: Any) -> np.ndarray:
        """(M, 8) the corners of the objects."""
        corners: np.ndarray = objects.corners.reshape(-1, 8)
        return corners
