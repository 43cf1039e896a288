"""Points as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from vertebra.errors import ConfigError
from vertebra.tasks.detect.tv_tensors import boxes_and_rows, boxes_with_rows
from vertebra.tasks.keypoints.annotation import KeypointAnnotation, clear_points_outside
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.tv_tensors import TVTensors

HALF = np.float32(0.5)


class KeypointTVTensors(TVTensors):
    """Points and boxes, with the row of each object in ``labels``. Three further points show scale and mirroring.

    torchvision mirrors points as pixel numbers, whose centers are whole numbers, so half a pixel is subtracted for it. It
    resizes and rotates them as positions between pixels, so these are off by up to half a pixel.
    """

    def wrap(self, annotation: KeypointAnnotation, size: tuple[int, int]) -> dict[str, Any]:
        """``boxes`` (M, 4), ``labels`` (M,), ``points`` (M, K, 2), and ``axes`` (3, 2): the center and a pixel right and below."""
        import torch
        from torchvision import tv_tensors

        center = torch.tensor([size[1] / 2, size[0] / 2])
        axes = torch.stack([center, center + torch.tensor([1.0, 0.0]), center + torch.tensor([0.0, 1.0])])
        points = torch.from_numpy(annotation.points[..., :2] - HALF)
        return {
            **boxes_with_rows(annotation.boxes, size),
            "points": tv_tensors.KeyPoints(points, canvas_size=size),
            "axes": tv_tensors.KeyPoints(axes, canvas_size=size),
        }

    def unwrap(
        self, annotation: KeypointAnnotation, tensors: Mapping[str, Any], size: tuple[int, int], labels: KeypointLabels
    ) -> KeypointAnnotation:
        """The remaining objects; points outside the image become unlabeled, mirrored ones change sides."""
        boxes, rows = boxes_and_rows(tensors, len(annotation.labels), size)
        positions, axes = (np.asarray(tensors[name], dtype=np.float64) for name in ("points", "axes"))
        if positions.shape != (*annotation.points.shape[:2], 2) or axes.shape != (3, 2):
            raise ConfigError(
                f"the transform of 'train.augment' returned 'points' of shape {positions.shape}; all points are kept, those "
                f"outside the image too: {(*annotation.points.shape[:2], 2)}"
            )
        area_scale = float(np.linalg.det(axes[1:] - axes[0]))
        points = np.concatenate([positions + HALF, annotation.points[..., 2:]], axis=-1)[rows]
        if area_scale < 0:
            if labels.mirror_refusal is not None:
                raise ConfigError(f"the transform of 'train.augment' mirrors images, but {labels.mirror_refusal}")
            points = points[:, labels.mirrored]
        taken = annotation.take(rows)
        areas = (taken.areas * abs(area_scale)).astype(np.float32)
        return replace(taken, points=clear_points_outside(points, size), boxes=boxes, areas=areas, size=size)
