"""Encoders by name. An encoder compresses the levels or relates their patches; it takes features and gives features."""

from vertebra.encoders.aspp import ASPP
from vertebra.encoders.conv import ConvEncoder
from vertebra.encoders.transformer import TransformerEncoder

ENCODERS = {"aspp": ASPP, "conv": ConvEncoder, "transformer": TransformerEncoder}

__all__ = ["ASPP", "ENCODERS", "ConvEncoder", "TransformerEncoder"]
