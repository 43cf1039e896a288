"""SSDLite: SSD with separable convolutions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from vertebra.decoders.detect._dense_head import DensePrediction
from vertebra.decoders.detect.ssd import SSD
from vertebra.layers.separable import ClippedConvNorm

MIN_CHANNELS = 128


class SSDLite(SSD):
    """SSD with depthwise separable convolutions: a tenth of its cost, for MobileNets and similar backbones.

    Its options and its differences from the paper are those of `SSD`; its neck is ``ssd_extra`` with
    ``separable: true``. The paper reads the finest map inside a block, where it is wide; here a map of fewer than 128 channels is
    widened to 128 first.
    """

    paper: ClassVar[str] = "Sandler et al., MobileNetV2, CVPR 2018, arXiv 1801.04381, section 6.2"

    @staticmethod
    def prediction(channels: int, per_cell: int, values: int) -> nn.Module:
        """A 1x1 convolution where the map is narrow, a depthwise 3x3 convolution with BatchNorm and ReLU up to 6, then a 1x1
        convolution."""
        wide = max(channels, MIN_CHANNELS)
        widen = [ClippedConvNorm(channels, wide, 1)] if channels < wide else []
        return nn.Sequential(
            *widen,
            ClippedConvNorm(wide, wide, 3, groups=wide),
            DensePrediction(wide, per_cell, values, kernel_size=1),
        )
