"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.geometry.placing import Geometry
from vertebra.tasks.keypoints.targets import KeypointDecoded


def to_image(decoded: KeypointDecoded, geometry: Geometry, size: tuple[int, int]) -> KeypointDecoded:
    """Points and boxes in the images' pixels; boxes are clipped to them."""
    return decoded._replace(
        points=geometry.points_to_image(decoded.points), boxes=geometry.boxes_to_image(decoded.boxes)
    )
