"""How convolutions start."""

from __future__ import annotations

import math

from torch import nn


def init_conv_(conv: nn.Conv2d, rectified: bool) -> None:
    """Random weights that keep the size of the signal, and zero biases.

    With ReLU behind it, the gradient's variance is kept on the way back (He et al., Delving Deep into Rectifiers, ICCV
    2015, arXiv 1502.01852); groups count, so that a depthwise convolution does not start near zero. Without ReLU the
    output's variance is kept on the way forth, so that a sum over several levels is not led by the widest of them.

    Args:
        rectified: whether ReLU follows, possibly after a normalization.
    """
    area = math.prod(conv.kernel_size)
    gain, fan = (2.0, conv.out_channels) if rectified else (1.0, conv.in_channels)
    nn.init.normal_(conv.weight, std=math.sqrt(gain * conv.groups / (fan * area)))
    if conv.bias is not None:
        nn.init.zeros_(conv.bias)
