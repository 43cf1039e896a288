"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.geometry.rectangles import enclosing_rectangles
from vertebra.preprocess.image_transform_torch import ImageTransforms
from vertebra.tasks.rotated_boxes.targets import RotatedBoxDecoded


def to_image(decoded: RotatedBoxDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> RotatedBoxDecoded:
    """Corners in the images' pixels, again of rectangles where the canvas is stretched; upright boxes are clipped to the image."""
    corners = enclosing_rectangles(geometry.points_to_image(decoded.corners))
    return decoded._replace(corners=corners, boxes=geometry.boxes_to_image(decoded.boxes))
