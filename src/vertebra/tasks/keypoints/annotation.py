"""The annotation of one image for the keypoints task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class KeypointAnnotation:
    """The objects in an image and their points; an image without objects has M = 0.

    Attributes:
        points: (M, K, 3) float32 of x, y in the original image's pixels and visibility: 0 not labeled, 1 labeled but
            hidden, 2 visible.
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        labels: (M,) int64 class ids.
        crowd: (M,) bool, True for an object that marks a crowd: it is ignored in training and metrics. Objects without a
            labeled point are ignored too, as in COCO's evaluation.
        areas: (M,) float32, the object's area in square pixels, the scale of object keypoint similarity.
        size: (height, width) of the image in pixels; 0, 0 where it is unknown.
    """

    points: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    size: tuple[int, int] = (0, 0)

    @property
    def known(self) -> np.ndarray:
        """(M,) bool, the objects that count: no crowds, and at least one labeled point."""
        known: np.ndarray = ~self.crowd & (self.points[..., 2] > 0).any(axis=1)
        return known

    def take(self, kept: np.ndarray) -> KeypointAnnotation:
        """Only some of the objects; ``kept`` is (M,) bool, or their indices."""
        return KeypointAnnotation(
            self.points[kept], self.boxes[kept], self.labels[kept], self.crowd[kept], self.areas[kept], self.size
        )


def clear_points_outside(points: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Points (M, K, 3); those outside (height, width) pixels and unlabeled ones become 0, 0, 0."""
    x, y, visibility = points[..., 0], points[..., 1], points[..., 2]
    kept = (visibility > 0) & (x >= 0) & (y >= 0) & (x <= size[1]) & (y <= size[0])
    inside: np.ndarray = np.where(kept[..., None], points, 0).astype(np.float32)
    return inside
