"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.preprocess.image_transform_torch import ImageTransforms
from vertebra.tasks.box_attributes.targets import AttributeDecoded


def to_image(decoded: AttributeDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> AttributeDecoded:
    """Boxes in the images' pixels, clipped to them."""
    return decoded._replace(boxes=geometry.boxes_to_image(decoded.boxes))
