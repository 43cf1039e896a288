"""The convolution block of MobileNet's detectors, with BatchNorm and ReLU6."""

from __future__ import annotations

from torch import nn

from vertebra.layers.init import init_conv_
from vertebra.layers.norm import PooledBatchNorm

EPS, MOMENTUM = 1e-3, 0.03


class ClippedConvNorm(nn.Sequential):
    """A convolution with "same" padding, BatchNorm with the eps and momentum of the MobileNets, and ReLU6.

    Sandler et al., MobileNetV2, CVPR 2018, arXiv 1801.04381.

    Args:
        kernel_size: odd.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, kernel_size // 2, groups=groups, bias=False)
        init_conv_(conv, rectified=True)
        super().__init__(conv, PooledBatchNorm(out_channels, eps=EPS, momentum=MOMENTUM), nn.ReLU6(inplace=True))
