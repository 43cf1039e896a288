"""Pyramid pooling."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import nn

from vertebra.encoders.base import Encoder
from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.pyramid_pooling import GRIDS, PyramidPooling


class PyramidPoolingEncoder(Encoder):
    """Pyramid pooling module of PSPNet: adds averages over grids of the whole image to each cell of the deepest level.

    Each grid of averages goes through a 1x1 convolution and is resized to the level; all are concatenated with it and
    projected by a 3x3 convolution. The result replaces the deepest level. The padding of the canvas is excluded from the
    averages.

    Args:
        channels: output channels; None: derived from the backbone (64 for MobileNetV2, 256 for ResNet-50).
        grids: cells of each grid along one side; None: those of the paper, 1, 2, 3 and 6.
        dropout: after the last convolution.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = "Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105"

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        channels: int | None = None,
        grids: list[int] | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_spec)
        sides = GRIDS if grids is None else tuple(grids)
        check_range("encoder 'pyramid_pooling'", minimum=1, channels=channels, grids=min(sides, default=0))
        check_range("encoder 'pyramid_pooling'", minimum=0, maximum=1, dropout=dropout)
        deepest = in_spec.levels[-1]
        self.stride = deepest.stride
        width = channels or default_channels(in_spec)
        grid_channels = max(1, deepest.channels // len(sides))
        self.pooling = PyramidPooling(deepest.channels, grid_channels, grids=sides)
        self.join = nn.Sequential(
            ConvNormAct(deepest.channels + len(sides) * grid_channels, width), nn.Dropout(dropout)
        )
        self.out_spec = in_spec.with_levels([*in_spec.levels[:-1], Level(width, deepest.stride)])

    def forward(self, features: Features) -> Features:
        """The features, with image-wide context in the deepest level."""
        deepest = features.maps[-1]
        context = torch.cat([deepest, *self.pooling(deepest, self.stride, features.frame)], dim=1)
        return features.with_maps([*features.maps[:-1], self.join(context)])
