"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.geometry.placing import Geometry
from vertebra.tasks.detect.targets import DetectDecoded


def to_image(decoded: DetectDecoded, geometry: Geometry, size: tuple[int, int]) -> DetectDecoded:
    """Boxes in the images' pixels, clipped to them."""
    return decoded._replace(boxes=geometry.boxes_to_image(decoded.boxes))
