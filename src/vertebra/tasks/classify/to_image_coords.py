"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.preprocess.image_transform_torch import ImageTransforms
from vertebra.tasks.classify.targets import ClassifyDecoded


def to_image(decoded: ClassifyDecoded, geometry: ImageTransforms, size: tuple[int, int]) -> ClassifyDecoded:
    """The same: probabilities have no coordinates."""
    return decoded
