"""Convolution, normalization and activation, in the order that most networks use them."""

from __future__ import annotations

from typing import Literal

from torch import nn

from vertebra.layers.init import init_conv_
from vertebra.layers.norm import PooledBatchNorm, group_norm

Norm = Literal["batch", "group", "none"]


def make_norm(norm: Norm, channels: int) -> nn.Module:
    """A normalization layer by name; ``batch`` also works with a single value per channel, ``none`` is the identity."""
    if norm == "batch":
        return PooledBatchNorm(channels)
    return group_norm(channels) if norm == "group" else nn.Identity()


class ConvNormAct(nn.Sequential):
    """A convolution with "same" padding, then normalization, then ReLU. It has a bias only without normalization.

    Args:
        kernel_size: odd.
        activation: whether ReLU follows.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        norm: Norm = "batch",
        activation: bool = True,
    ) -> None:
        padding = dilation * (kernel_size - 1) // 2
        conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, dilation, groups, bias=norm == "none")
        init_conv_(conv, rectified=activation)
        super().__init__(conv, make_norm(norm, out_channels), nn.ReLU(inplace=True) if activation else nn.Identity())


class SeparableConvNormAct(nn.Sequential):
    """A depthwise convolution followed by a pointwise one, each with BatchNorm and ReLU.

    Chollet, Xception, CVPR 2017, arXiv 1610.02357; as DeepLabV3+ uses it.

    Args:
        inner_norm: False leaves out BatchNorm and ReLU between the two, as segmentation-models-pytorch does.
    """

    def __init__(
        self, in_channels: int, out_channels: int, kernel_size: int = 3, *, dilation: int = 1, inner_norm: bool = True
    ) -> None:
        deep = ConvNormAct(in_channels, in_channels, kernel_size, dilation=dilation, groups=in_channels)
        super().__init__(deep if inner_norm else nn.Sequential(deep[0]), ConvNormAct(in_channels, out_channels, 1))
