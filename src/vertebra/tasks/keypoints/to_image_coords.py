"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.preprocess.image_transform_torch import ImageTransforms
from vertebra.tasks.keypoints.targets import KeypointDecoded


def to_image(decoded: KeypointDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> KeypointDecoded:
    """Points and boxes in the images' pixels; boxes are clipped to them."""
    return decoded._replace(
        points=geometry.points_to_image(decoded.points), boxes=geometry.boxes_to_image(decoded.boxes)
    )
