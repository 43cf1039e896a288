"""Boxes as ``torchvision.tv_tensors``, and back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from vertebra.errors import ConfigError
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.tv_tensors import TVTensors


class DetectTVTensors(TVTensors):
    """Boxes with the row of each in ``labels``, so that boxes can be dropped together with their labels."""

    def wrap(self, annotation: DetectAnnotation, size: tuple[int, int]) -> dict[str, Any]:
        """``boxes`` (M, 4) and ``labels`` (M,) int64, the row of each object."""
        return boxes_with_rows(annotation.boxes, size)

    def unwrap(
        self, annotation: DetectAnnotation, tensors: Mapping[str, Any], size: tuple[int, int], labels: DetectLabels
    ) -> DetectAnnotation:
        """The remaining boxes, clipped to the image, without empty ones."""
        boxes, rows = boxes_and_rows(tensors, len(annotation.labels), size)
        labels_of, crowd = annotation.labels[rows], annotation.crowd[rows]
        return DetectAnnotation(boxes, labels_of, crowd, exhaustive=annotation.exhaustive)


def boxes_with_rows(boxes: np.ndarray, size: tuple[int, int]) -> dict[str, Any]:
    """Boxes (M, 4) of an image of (height, width) as ``BoundingBoxes``, and their rows as ``labels``."""
    import torch
    from torchvision import tv_tensors

    wrapped = tv_tensors.BoundingBoxes(torch.from_numpy(boxes.copy()), format="XYXY", canvas_size=size)  # type: ignore[call-overload]
    return {"boxes": wrapped, "labels": torch.arange(len(boxes))}


def boxes_and_rows(tensors: Mapping[str, Any], count: int, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """The boxes that a transform returned, clipped and not empty, and the row of each.

    Args:
        tensors: with ``boxes`` and ``labels``.
        count: number of boxes before the transform.
        size: (height, width) of the transformed image.

    Returns:
        (m, 4) float32 and (m,) int64.

    Raises:
        ConfigError: boxes and labels do not belong together.
    """
    boxes, rows = (np.asarray(tensors[name]) for name in ("boxes", "labels"))
    if boxes.shape != (len(rows), 4) or (len(rows) and not 0 <= rows.min() <= rows.max() < count):
        raise ConfigError(
            f"the transform of 'train.augment' returned 'boxes' of shape {boxes.shape} and 'labels' of shape {rows.shape}; each "
            "box needs its label: both have the same length, and labels are not changed"
        )
    clipped = np.clip(boxes, 0, np.array([size[1], size[0], size[1], size[0]])).astype(np.float32)
    kept = (clipped[:, 2:] > clipped[:, :2]).all(axis=1)
    return clipped[kept], rows[kept]
