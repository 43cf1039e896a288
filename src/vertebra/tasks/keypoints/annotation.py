"""The truth of one image for the keypoints task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class KeypointAnnotation:
    """The objects in an image and their points; none (M = 0) is an image with nothing in it.

    Attributes:
        points: (M, K, 3) float32 of x, y in the original image's pixels and visibility: 0 not labeled, 1 labeled but
            hidden, 2 visible.
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        labels: (M,) int64 class ids.
        crowd: (M,) bool, True for what marks a crowd: it is not to be found, and finding it is no mistake. The same is
            true of an object without a labeled point, as in COCO's evaluation; it needs no mark.
        areas: (M,) float32, the object's area in square pixels, which object keypoint similarity is measured by.
        size: (height, width) of the image in pixels; 0, 0 where it is not known.
    """

    points: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    size: tuple[int, int] = (0, 0)

    @property
    def known(self) -> np.ndarray:
        """(M,) bool, which objects are to be found: no crowds, and at least one labeled point."""
        known: np.ndarray = ~self.crowd & (self.points[..., 2] > 0).any(axis=1)
        return known

    def take(self, kept: np.ndarray) -> KeypointAnnotation:
        """Only some of the objects; ``kept`` is (M,) bool, or their numbers."""
        return KeypointAnnotation(
            self.points[kept], self.boxes[kept], self.labels[kept], self.crowd[kept], self.areas[kept], self.size
        )
