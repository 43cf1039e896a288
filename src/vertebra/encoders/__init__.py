"""Encoders by name. An encoder compresses the levels or relates their patches; it takes features and gives features."""

from vertebra.encoders.aspp import ASPP
from vertebra.encoders.conv import ConvEncoder
from vertebra.encoders.hybrid import HybridEncoder
from vertebra.encoders.pyramid_pooling import PyramidPoolingEncoder
from vertebra.encoders.transformer import TransformerEncoder

ENCODERS = {
    "aspp": ASPP,
    "conv": ConvEncoder,
    "hybrid": HybridEncoder,
    "pyramid_pooling": PyramidPoolingEncoder,
    "transformer": TransformerEncoder,
}

__all__ = ["ASPP", "ENCODERS", "ConvEncoder", "HybridEncoder", "PyramidPoolingEncoder", "TransformerEncoder"]
