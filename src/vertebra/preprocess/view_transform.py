"""Maps points and boxes from a mirrored or scaled canvas onto the plain one, for test-time augmentation (numpy only)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertebra.preprocess.image_transform import ImageTransform


class ViewTransform(NamedTuple):
    """The position of an image on a canvas that may be mirrored, and larger or smaller than the plain one.

    Attributes:
        plain: the transform from the image to the plain canvas.
        view: the transform from the image to this canvas, before mirroring.
        mirrored: whether the canvas' valid pixels are mirrored left to right.
    """

    plain: ImageTransform
    view: ImageTransform
    mirrored: bool

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from this canvas to the plain one."""
        points = np.asarray(points, dtype=np.float32)
        if self.mirrored:
            points = np.stack([self.view.size[1] - points[..., 0], points[..., 1]], axis=-1)
        if self.view != self.plain:
            points = self.plain.points_to_canvas(self.view.points_to_image(points))
        return points

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) xyxy from this canvas to the plain one."""
        boxes = np.asarray(boxes, dtype=np.float32)
        corners = self.points(boxes.reshape(*boxes.shape[:-1], 2, 2))
        if self.mirrored:  # left and right are exchanged
            corners = np.stack([corners[..., ::-1, 0], corners[..., 1]], axis=-1)
        return corners.reshape(boxes.shape)
