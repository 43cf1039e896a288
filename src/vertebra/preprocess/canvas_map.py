"""What the maps from an image to the canvas of training have in common."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec


class CanvasMap(Protocol):
    """A map from an image to the canvas: a `CropWindow`, or a `Warp` where the image is rotated freely or in perspective."""

    @property
    def out(self) -> tuple[int, int]:
        """(height, width) of the canvas' valid pixels, at its top left."""

    @property
    def mirrored(self) -> bool:
        """Whether left and right points of objects change sides."""

    @property
    def area_scale(self) -> float:
        """Canvas pixels per image pixel, as areas."""

    @property
    def matrix(self) -> np.ndarray:
        """(3, 3) float64, from x, y, 1 in image pixels to canvas pixels, up to a factor."""

    def transform(self, resize_spec: ResizeSpec, original: tuple[int, int]) -> ImageTransform:
        """The same map, as nearly as one without turns and mirroring can be."""

    def points(self, points: np.ndarray) -> np.ndarray:
        """Points (..., 2) of x, y from image to canvas pixels; they may lie outside."""

    def boxes(self, boxes: np.ndarray) -> np.ndarray:
        """The boxes (..., 4) xyxy around the mapped boxes, in canvas pixels; not clipped."""

    def boxes_around(self, outlines: np.ndarray) -> np.ndarray:
        """The boxes (..., 4) xyxy around mapped convex polygons (..., P, 2) of x, y, in canvas pixels; not clipped."""

    def labels(self, mask: np.ndarray, canvas: tuple[int, int], fill: int) -> np.ndarray:
        """A mask (..., H, W) of the image, on the canvas (..., height, width), with ``fill`` outside the image."""
