"""SSDLite: SSD with separable convolutions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from vertebra.decoders.detect._dense_head import DensePrediction
from vertebra.decoders.detect.ssd import SSD
from vertebra.layers.separable import ClippedConvNorm

LEAST_WIDTH = 128


class SSDLite(SSD):
    """SSD whose convolutions see each channel for itself before they mix them: a tenth of its cost, for MobileNets and the
    like.

    Its options and its differences from the paper are those of `SSD`; the neck that goes with it is ``ssd_extra`` with
    ``separable: true``. The paper reads the finest map inside of a block, where it is wide; a map of fewer than 128 channels is
    widened to as many here, because a convolution of each channel for itself tells little from few.
    """

    paper: ClassVar[str] = "Sandler et al., MobileNetV2, CVPR 2018, arXiv 1801.04381, section 6.2"

    @staticmethod
    def prediction(channels: int, pre_nms_topk: int, values: int) -> nn.Module:
        """A 1x1 convolution where the map is narrow, a depthwise 3x3 convolution with BatchNorm and ReLU up to 6, then a 1x1
        convolution."""
        wide = max(channels, LEAST_WIDTH)
        widen = [ClippedConvNorm(channels, wide, 1)] if channels < wide else []
        return nn.Sequential(
            *widen,
            ClippedConvNorm(wide, wide, 3, groups=wide),
            DensePrediction(wide, pre_nms_topk, values, kernel_size=1),
        )
