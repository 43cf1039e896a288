"""SSDLite: SSD with separable convolutions."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from vertebra.decoders.detection_head import DensePrediction
from vertebra.decoders.ssd import SSD
from vertebra.layers.separable import ClippedConvNorm


class SSDLite(SSD):
    """SSD whose convolutions see each channel for itself before they mix them: a tenth of its cost, for MobileNets and the
    like.

    Its options and its difference from the paper are those of `SSD`; the neck that goes with it is ``ssd_extra`` with
    ``separable: true``.
    """

    paper: ClassVar[str] = "Sandler et al., MobileNetV2, CVPR 2018, arXiv 1801.04381, section 6.2"

    @staticmethod
    def prediction(channels: int, candidates: int, values: int) -> nn.Module:
        """A depthwise 3x3 convolution with BatchNorm and ReLU up to 6, then a 1x1 convolution."""
        return nn.Sequential(
            ClippedConvNorm(channels, channels, 3, groups=channels),
            DensePrediction(channels, candidates, values, kernel_size=1),
        )
