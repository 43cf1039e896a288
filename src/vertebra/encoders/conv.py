"""The convolutional encoder."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from vertebra.encoders.base import Encoder
from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.pool import HalvingMaxPool


class ConvEncoder(Encoder):
    """Convolutional encoder: blocks of convolution, normalization, ReLU and optional pooling that compress the deepest level.

    Without pooling, the compressed map replaces the deepest level. With pooling, each block halves the size, so that the
    compressed map is a new, coarser level, and all input levels pass through.

    Args:
        channels: channels of the compressed level; None: derived from the backbone.
        depth: how many blocks.
        pooling: whether each block ends with a 2x2 max pooling.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = "Simonyan and Zisserman, Very Deep Convolutional Networks, ICLR 2015, arXiv 1409.1556"

    def __init__(
        self, in_spec: FeatureSpec, *, channels: int | None = None, depth: int = 1, pooling: bool = True
    ) -> None:
        super().__init__(in_spec)
        check_range("encoder 'conv'", minimum=1, channels=channels, depth=depth)
        deepest = in_spec.levels[-1]
        width = channels or default_channels(in_spec)
        layers: list[nn.Module] = []
        for number in range(depth):
            layers.append(ConvNormAct(deepest.channels if number == 0 else width, width))
            if pooling:
                layers.append(HalvingMaxPool())
        self.blocks = nn.Sequential(*layers)
        self.pooling = pooling
        if pooling:
            levels = [*in_spec.levels, Level(width, deepest.stride * 2**depth)]
        else:
            levels = [*in_spec.levels[:-1], Level(width, deepest.stride)]
        self.out_spec = in_spec.with_levels(levels)

    def forward(self, features: Features) -> Features:
        """The features with the deepest level compressed."""
        compressed = self.blocks(features.maps[-1])
        unchanged = features.maps if self.pooling else features.maps[:-1]
        return features.with_maps([*unchanged, compressed])
