"""The crop of an image that is put on the canvas in training, and how it is mirrored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec


@dataclass(frozen=True)
class CropWindow:
    """A crop of an image, its size on the canvas, and whether it is mirrored.

    Attributes:
        top, left, height, width: the crop, in whole image pixels.
        out: (height, width) on the canvas, at its top left.
        mirror: left and right are exchanged.
        flip: top and bottom are exchanged.
    """

    top: int
    left: int
    height: int
    width: int
    out: tuple[int, int]
    mirror: bool = False
    flip: bool = False

    def transform(self, resize_spec: ResizeSpec, original: tuple[int, int]) -> ImageTransform:
        """The map from the image to the canvas, before any mirroring."""
        scale_y, scale_x = self._scale
        top, left = round(-self.top * scale_y), round(-self.left * scale_x)
        return ImageTransform(resize_spec.size, original, scale_y, scale_x, top, left, self.out)

    def box(self, factor: int = 1) -> tuple[int, int, int, int]:
        """The crop (left, top, right, bottom) in pixels of the image at 1/``factor`` of its size, of which they are multiples."""
        edges = (self.left, self.top, self.left + self.width, self.top + self.height)
        left, top, right, bottom = (edge // factor for edge in edges)
        return left, top, right, bottom

    @property
    def area_scale(self) -> float:
        """Canvas pixels per image pixel, as areas."""
        return self._scale[0] * self._scale[1]

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from image to canvas pixels; they may lie outside."""
        scale_y, scale_x = self._scale
        on_canvas = (np.asarray(points, dtype=np.float64) - (self.left, self.top)) * (scale_x, scale_y)
        if self.mirror:
            on_canvas[..., 0] = self.out[1] - on_canvas[..., 0]
        if self.flip:
            on_canvas[..., 1] = self.out[0] - on_canvas[..., 1]
        return on_canvas.astype(np.float32)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) xyxy from image to canvas pixels; not clipped."""
        corners = self.points(np.asarray(boxes).reshape(*boxes.shape[:-1], 2, 2))
        ordered: np.ndarray = np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)
        return ordered

    @property
    def _scale(self) -> tuple[float, float]:
        return self.out[0] / self.height, self.out[1] / self.width
