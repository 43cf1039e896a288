"""Atrous spatial pyramid pooling."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.encoders.base import Encoder
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.layers.conv import ConvNormAct, SeparableConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.norm import PooledBatchNorm
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_cells


class ASPP(Encoder):
    """Atrous spatial pyramid pooling: parallel convolutions of several dilations and a global average give the deepest level
    context at several scales.

    The outputs of a 1x1 convolution, of the 3x3 convolutions and of the global average are concatenated and projected by a
    1x1 convolution; the result replaces the deepest level. The padding of the canvas is excluded from the average, so that
    an image's features do not depend on the size of its canvas.

    Args:
        channels: output channels; None: derived from the backbone (64 for MobileNetV2, 256 for ResNet-50).
        rates: dilations; None: those of the paper, 6, 12, 18 at stride 16 and 12, 24, 36 at stride 8, halved at 32 (96, 192
            and 288 pixels at any stride).
        separable: depthwise separable 3x3 convolutions, as in DeepLabV3+.
        inner_norm: normalization and ReLU between the depthwise and the pointwise convolution, if they are separable;
            segmentation-models-pytorch has none there.
        dropout: after the last convolution.

    Raises:
        IncompatiblePartsError: there is no level.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017, arXiv 1706.05587"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        channels: int | None = None,
        rates: list[int] | None = None,
        separable: bool = True,
        inner_norm: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__(in_spec)
        check_range("encoder 'aspp'", minimum=1, channels=channels, rates=None if not rates else min(rates))
        check_range("encoder 'aspp'", minimum=0, maximum=1, dropout=dropout)
        if rates is not None and not rates:
            raise ConfigError("encoder 'aspp': 'rates' needs at least one dilation, got none")
        deepest = in_spec.levels[-1]
        self.stride = deepest.stride
        width = channels or default_channels(in_spec)
        dilations = rates or [max(1, rate * 16 // deepest.stride) for rate in (6, 12, 18)]
        block = partial(SeparableConvNormAct, inner_norm=inner_norm) if separable else ConvNormAct
        self.branches = nn.ModuleList([ConvNormAct(deepest.channels, width, 1)])
        self.branches.extend(block(deepest.channels, width, 3, dilation=rate) for rate in dilations)
        self.pool = nn.Conv2d(deepest.channels, width, 1, bias=False)
        self.pool_norm = PooledBatchNorm(width)
        self.join = nn.Sequential(ConvNormAct(width * (len(dilations) + 2), width, 1), nn.Dropout(dropout))
        self.out_spec = in_spec.with_levels([*in_spec.levels[:-1], Level(width, deepest.stride)])

    def forward(self, features: Features) -> Features:
        """The features, with multi-scale context in the deepest level."""
        deepest = features.maps[-1]
        context = [branch(deepest) for branch in self.branches]
        context.append(self._global(deepest, features.frame).expand_as(context[0]))
        return features.with_maps([*features.maps[:-1], self.join(torch.cat(context, dim=1))])

    def _global(self, deepest: Tensor, frame: Frame) -> Tensor:
        """(N, channels, 1, 1) from the mean of the cells that cover the image."""
        weights = valid_cells(frame, deepest, self.stride).float()[:, None]
        weights = weights / weights.sum(dim=(2, 3), keepdim=True).clamp(min=1.0)
        mean = (deepest.float() * weights).sum(dim=(2, 3), keepdim=True).to(deepest.dtype)
        pooled: Tensor = self.pool_norm(self.pool(mean))
        return pooled.relu()
