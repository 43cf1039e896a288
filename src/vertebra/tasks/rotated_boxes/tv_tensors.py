"""Rotated boxes as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vertebra.errors import ConfigError
from vertebra.geometry.rectangles import enclosing_rectangles
from vertebra.tasks.detect.tv_tensors import boxes_and_rows, boxes_with_rows
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation
from vertebra.tasks.rotated_boxes.column import shown
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.tv_tensors import TVTensors

HALF = np.float32(0.5)  # torchvision takes points as pixel numbers; see `vertebra.tasks.keypoints.tv_tensors`


class RotatedBoxTVTensors(TVTensors):
    """Upright boxes with the row of each in ``labels``, and the corners as points; a transform that drops a box drops its
    object."""

    def wrap(self, annotation: RotatedBoxAnnotation, size: tuple[int, int]) -> dict[str, Any]:
        """``boxes`` (M, 4), ``labels`` (M,) int64, the row of each object, and ``corners`` (M, 4, 2)."""
        import torch
        from torchvision import tv_tensors

        corners = tv_tensors.KeyPoints(torch.from_numpy(annotation.corners - HALF), canvas_size=size)
        return {**boxes_with_rows(annotation.boxes, size), "corners": corners}

    def unwrap(
        self,
        annotation: RotatedBoxAnnotation,
        tensors: Mapping[str, Any],
        size: tuple[int, int],
        labels: RotatedBoxLabels,
    ) -> RotatedBoxAnnotation:
        """The remaining boxes around their visible parts, without empty ones."""
        _, rows = boxes_and_rows(tensors, len(annotation.labels), size)
        corners = np.asarray(tensors["corners"], dtype=np.float64)
        if corners.shape != annotation.corners.shape:
            raise ConfigError(
                f"the transform of 'train.augment' returned 'corners' of shape {corners.shape}; all are kept, those outside the "
                f"image too: {annotation.corners.shape}"
            )
        taken = annotation.take(rows)
        rectangles = enclosing_rectangles(corners[rows] + HALF).astype(np.float32)
        return shown(replace(taken, corners=rectangles), size, 0.0)
