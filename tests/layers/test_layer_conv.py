"""Convolution blocks: padding, biases, and how they start."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from vertebra.layers.conv import ConvNormAct, SeparableConvNormAct
from vertebra.layers.init import init_conv_
from vertebra.layers.norm import PooledBatchNorm


@pytest.mark.parametrize(("kernel", "dilation"), [(1, 1), (3, 1), (3, 6), (5, 2)])
def test_the_size_stays(kernel: int, dilation: int) -> None:
    maps = torch.randn(2, 4, 7, 5)
    assert ConvNormAct(4, 6, kernel, dilation=dilation)(maps).shape == (2, 6, 7, 5)
    assert SeparableConvNormAct(4, 6, kernel, dilation=dilation)(maps).shape == (2, 6, 7, 5)


def test_a_stride_of_two_leaves_the_ceiling_of_the_half() -> None:
    assert ConvNormAct(4, 6, stride=2)(torch.randn(1, 4, 7, 4)).shape == (1, 6, 4, 2)


def test_a_bias_only_where_nothing_normalizes() -> None:
    assert ConvNormAct(4, 16, norm="none")[0].bias is not None
    assert ConvNormAct(4, 16, norm="batch")[0].bias is None
    assert ConvNormAct(4, 16, norm="group")[0].bias is None
    assert isinstance(ConvNormAct(4, 16)[1], PooledBatchNorm)
    assert isinstance(ConvNormAct(4, 16, norm="group")[1], nn.GroupNorm)


def test_relu_is_optional() -> None:
    maps = torch.randn(1, 4, 8, 8)
    assert ConvNormAct(4, 16)(maps).min() == 0
    assert ConvNormAct(4, 16, activation=False)(maps).min() < 0


def test_a_separable_block_is_depthwise_then_pointwise() -> None:
    block = SeparableConvNormAct(8, 12, 3, dilation=2)
    depthwise, pointwise = block[0][0], block[1][0]
    assert (depthwise.groups, depthwise.weight.shape, depthwise.dilation) == (8, (8, 1, 3, 3), (2, 2))
    assert (pointwise.groups, pointwise.weight.shape) == (1, (12, 8, 1, 1))


@pytest.mark.parametrize(("channels", "width", "kernel"), [(320, 64, 1), (512, 64, 3)])
def test_a_linear_convolution_keeps_the_size_of_the_signal(channels: int, width: int, kernel: int) -> None:
    block = ConvNormAct(channels, width, kernel, norm="none", activation=False)
    out = block(torch.randn(2, channels, 24, 24))[..., 1:-1, 1:-1]
    assert out.std().item() == pytest.approx(1.0, abs=0.1)


@pytest.mark.parametrize("groups", [1, 8, 64])
def test_a_rectified_convolution_keeps_the_signal_whatever_its_groups(groups: int) -> None:
    conv = nn.Conv2d(64, 64, 3, groups=groups)
    init_conv_(conv, rectified=True)
    # ReLU halves the mean square, which the gain of two makes up for
    assert conv(torch.randn(2, 64, 24, 24)).relu().pow(2).mean().item() == pytest.approx(1.0, abs=0.2)
    assert torch.equal(conv.bias, torch.zeros(64))
