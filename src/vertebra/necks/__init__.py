"""Necks by name. A neck mixes the levels: it takes features and gives features."""

from vertebra.necks.fpn import FPN
from vertebra.necks.simple_pyramid import SimplePyramid

NECKS = {"fpn": FPN, "simple_pyramid": SimplePyramid}

__all__ = ["FPN", "NECKS", "SimplePyramid"]
