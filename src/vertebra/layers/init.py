"""Initialization of convolutions."""

from __future__ import annotations

import math

from torch import nn


def init_conv_(conv: nn.Conv2d, rectified: bool) -> None:
    """Random weights that preserve the variance, and zero biases.

    With ReLU after it, the gradient's variance is preserved in the backward pass (He et al., Delving Deep into Rectifiers,
    ICCV 2015, arXiv 1502.01852); the fan counts groups, so a depthwise convolution does not start near zero. Without ReLU the
    output's variance is preserved in the forward pass, so the widest level does not dominate a sum over levels.

    Args:
        rectified: whether ReLU follows, possibly after a normalization.
    """
    area = math.prod(conv.kernel_size)
    gain, fan = (2.0, conv.out_channels) if rectified else (1.0, conv.in_channels)
    nn.init.normal_(conv.weight, std=math.sqrt(gain * conv.groups / (fan * area)))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
