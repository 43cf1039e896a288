"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.preprocess.image_transform_torch import ImageTransforms
from vertebra.tasks.instances.targets import InstanceDecoded


def to_image(decoded: InstanceDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> InstanceDecoded:
    """Boxes in the images' pixels; they are not clipped, as masks are relative to them."""
    boxes = decoded.boxes
    corners = geometry.points_to_image(boxes.reshape(*boxes.shape[:-1], 2, 2))
    return decoded._replace(boxes=corners.reshape(boxes.shape))
