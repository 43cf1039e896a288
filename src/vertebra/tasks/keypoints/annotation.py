"""The truth of one image for the keypoints task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class KeypointAnnotation:
    """The objects in an image and their points; none (M = 0) is an image with nothing in it.

    Attributes:
        points: (M, K, 3) float32 of x, y in the original image's pixels and visibility: 0 not labelled, 1 labelled but
            hidden, 2 visible.
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        labels: (M,) int64 class ids.
        crowd: (M,) bool, True for what marks a crowd: it is not to be found, and finding it is no mistake.
        areas: (M,) float32, the object's area in square pixels, which object keypoint similarity is measured by.
    """

    points: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
