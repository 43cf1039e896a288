"""Encoders by name. An encoder compresses levels or adds context to them; it takes features and returns features."""

from vertebra.encoders.aspp import ASPP
from vertebra.encoders.base import Encoder
from vertebra.encoders.conv import ConvEncoder
from vertebra.encoders.deformable import DeformableEncoder
from vertebra.encoders.hybrid import HybridEncoder
from vertebra.encoders.pyramid_pooling import PyramidPoolingEncoder
from vertebra.encoders.transformer import TransformerEncoder

ENCODERS: dict[str, type[Encoder]] = {
    "aspp": ASPP,
    "conv": ConvEncoder,
    "deformable": DeformableEncoder,
    "hybrid": HybridEncoder,
    "pyramid_pooling": PyramidPoolingEncoder,
    "transformer": TransformerEncoder,
}

__all__ = [
    "ASPP",
    "ENCODERS",
    "ConvEncoder",
    "DeformableEncoder",
    "Encoder",
    "HybridEncoder",
    "PyramidPoolingEncoder",
    "TransformerEncoder",
]
