"""The annotation of one image for the detect task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class DetectAnnotation:
    """The objects in an image; an image without objects has M = 0.

    Attributes:
        boxes: (M, 4) float32, xyxy in the original image's pixels.
        labels: (M,) int64 class ids.
        crowd: (M,) bool, True for a box that marks a crowd or a region to ignore.
        outlines: (M, P, 2) float32 of x, y, the corners of a convex polygon around each object inside its box; None for the boxes.
        exhaustive: (K,) bool, the classes of which all objects in the image are annotated; None for all. Objects of other classes
            are objects, too, but there may be more of them.
    """

    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    outlines: np.ndarray | None = None
    exhaustive: np.ndarray | None = None
