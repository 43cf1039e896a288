"""The crop of an image that is put on the canvas in training, and how it is mirrored and turned."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec
from vertebra.preprocess.images import resize_labels


@dataclass(frozen=True)
class CropWindow:
    """A crop of an image, its size on the canvas, and whether it is turned and mirrored, in this order.

    Attributes:
        top, left, height, width: the crop, in whole image pixels.
        out: (height, width) on the canvas, at its top left.
        mirror: left and right are exchanged.
        flip: top and bottom are exchanged.
        turns: quarter turns counterclockwise, 0 to 3, as `numpy.rot90` does them.
    """

    top: int
    left: int
    height: int
    width: int
    out: tuple[int, int]
    mirror: bool = False
    flip: bool = False
    turns: int = 0

    def transform(self, resize_spec: ResizeSpec, original: tuple[int, int]) -> ImageTransform:
        """The map from the image to the canvas, before any turn and mirroring."""
        scale_y, scale_x = self._scale
        top, left = round(-self.top * scale_y), round(-self.left * scale_x)
        return ImageTransform(resize_spec.size, original, scale_y, scale_x, top, left, self.out)

    def box(self, factor: int = 1) -> tuple[int, int, int, int]:
        """The crop (left, top, right, bottom) in pixels of the image at 1/``factor`` of its size, of which they are multiples."""
        edges = (self.left, self.top, self.left + self.width, self.top + self.height)
        left, top, right, bottom = (edge // factor for edge in edges)
        return left, top, right, bottom

    @property
    def unturned(self) -> tuple[int, int]:
        """(height, width) on the canvas before the turn."""
        return self.out if self.turns % 2 == 0 else (self.out[1], self.out[0])

    @property
    def mirrored(self) -> bool:
        """Whether left and right points of objects change sides."""
        return self.mirror != self.flip  # both together are a turn by 180 degrees

    @property
    def area_scale(self) -> float:
        """Canvas pixels per image pixel, as areas."""
        return self._scale[0] * self._scale[1]

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64, from x, y, 1 in image pixels to canvas pixels."""
        origin, along_x, along_y = self._map(np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]))
        matrix = np.eye(3)
        matrix[:2] = np.stack([along_x - origin, along_y - origin, origin], axis=1)
        return matrix

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from image to canvas pixels; they may lie outside."""
        return self._map(np.asarray(points, dtype=np.float64)).astype(np.float32)

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """Boxes (..., 4) xyxy from image to canvas pixels; not clipped."""
        return self.boxes_around(np.asarray(boxes).reshape(*boxes.shape[:-1], 2, 2))

    def boxes_around(self, outlines: np.ndarray) -> np.ndarray:
        """The boxes (..., 4) xyxy around mapped points (..., P, 2) of x, y, in canvas pixels; not clipped."""
        corners = self.points(outlines)
        ordered: np.ndarray = np.concatenate([corners.min(axis=-2), corners.max(axis=-2)], axis=-1)
        return ordered

    def labels(self, mask: np.ndarray, canvas: tuple[int, int], fill: int) -> np.ndarray:
        """A mask (..., H, W) of the image, on the canvas (..., height, width); each pixel takes the value under its center.

        Args:
            mask: of any type.
            canvas: (height, width) in pixels.
            fill: value beside the window.
        """
        rows = slice(self.top, self.top + self.height)
        part = resize_labels(mask[..., rows, self.left : self.left + self.width], self.unturned)
        part = np.rot90(part, self.turns, axes=(-2, -1))
        part = part[..., :, ::-1] if self.mirror else part
        part = part[..., ::-1, :] if self.flip else part
        on_canvas = np.full((*mask.shape[:-2], *canvas), fill, dtype=mask.dtype)
        on_canvas[..., : self.out[0], : self.out[1]] = part
        return on_canvas

    def _map(self, points: np.ndarray) -> np.ndarray:
        scale_y, scale_x = self._scale
        on_canvas = (points - (self.left, self.top)) * (scale_x, scale_y)
        height, width = self.unturned
        for _ in range(self.turns):
            on_canvas = np.stack([on_canvas[..., 1], width - on_canvas[..., 0]], axis=-1)
            height, width = width, height
        if self.mirror:
            on_canvas[..., 0] = width - on_canvas[..., 0]
        if self.flip:
            on_canvas[..., 1] = height - on_canvas[..., 1]
        return on_canvas

    @property
    def _scale(self) -> tuple[float, float]:
        return self.unturned[0] / self.height, self.unturned[1] / self.width
