"""An image seen on another canvas than the plain one, and the way of what is found there onto the plain one (numpy only)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertebra.preprocess.image_transform import ImageTransform


class ViewTransform(NamedTuple):
    """How an image lies on a canvas that may be larger or smaller than the plain one, and may show it mirrored.

    Attributes:
        plain: where the image lies on the plain canvas.
        own: where it lies on this canvas, before that is mirrored.
        mirrored: whether the canvas' valid pixels are mirrored left to right.
    """

    plain: ImageTransform
    own: ImageTransform
    mirrored: bool

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from this canvas to the plain one."""
        points = np.asarray(points, dtype=np.float32)
        if self.mirrored:
            points = np.stack([self.own.size[1] - points[..., 0], points[..., 1]], axis=-1)
        if self.own != self.plain:
            points = self.plain.points_to_canvas(self.own.points_to_image(points))
        return points

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) xyxy from this canvas to the plain one."""
        boxes = np.asarray(boxes, dtype=np.float32)
        corners = self.points(boxes.reshape(*boxes.shape[:-1], 2, 2))
        if self.mirrored:  # left is right
            corners = np.stack([corners[..., ::-1, 0], corners[..., 1]], axis=-1)
        return corners.reshape(boxes.shape)
