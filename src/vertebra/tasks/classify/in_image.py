"""Decoded outputs in the images' own pixels, as tensors."""

from __future__ import annotations

from vertebra.geometry.placing import Geometry
from vertebra.tasks.classify.targets import ClassifyDecoded


def to_image(decoded: ClassifyDecoded, geometry: Geometry, size: tuple[int, int]) -> ClassifyDecoded:
    """As they are: probabilities lie nowhere."""
    return decoded
