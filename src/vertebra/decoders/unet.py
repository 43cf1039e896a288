"""The U-Net decoder."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.decoders.segment_head import SegmentDecoder
from vertebra.errors import ConfigError, JointError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.limits import check_limits
from vertebra.layers.resample import upsample_like
from vertebra.layers.width import fitting_channels
from vertebra.losses.segment_sum import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class UNet(SegmentDecoder):
    """U-Net decoder: goes up level by level and joins each finer level to what came from below.

    Args:
        channels: width at each finer level, deepest first; None: from twice what fits the backbone, halved at each level,
            at least 32.
        dropout: before the logits.
        auxiliary: weight of the loss of a small head of its own on the second deepest level; 0 for none.
        loss: which losses are summed.
    """

    paper: ClassVar[str] = (
        "Ronneberger et al., U-Net: Convolutional Networks for Biomedical Image Segmentation, MICCAI 2015, "
        "arXiv 1505.04597 (differences: padded convolutions, interpolation instead of transposed convolution)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: list[int] | None = None,
        dropout: float = 0.0,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
    ) -> None:
        super().__init__(in_spec, labels, loss=loss)
        check_limits("decoder 'unet'", least=0, most=1, dropout=dropout)
        check_limits("decoder 'unet'", least=1, channels=min(channels or [1]))
        strides = in_spec.strides
        self.used = [n for n in range(len(strides)) if n + 1 == len(strides) or strides[n] != strides[n + 1]]
        if len(self.used) < 2:
            raise JointError("levels of at least two different strides", "Add neck 'simple_pyramid'.")
        self.reads = tuple(self.used)
        steps = len(self.used) - 1
        top = 2 * fitting_channels(in_spec)
        widths = channels or [max(32, top // 2**number) for number in range(steps)]
        if len(widths) != steps:
            raise ConfigError(
                f"decoder 'unet': 'channels' needs {steps} numbers here, one a finer level, got {len(widths)}"
            )
        self.ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(steps - 1, -1, -1)]
        before = in_spec.channels[self.used[-1]]
        self.blocks = nn.ModuleList()
        for width, index in zip(widths, reversed(self.used[:-1]), strict=True):
            self.blocks.append(
                nn.Sequential(ConvNormAct(before + in_spec.channels[index], width), ConvNormAct(width, width))
            )
            before = width
        self.stride = strides[self.used[0]]
        self.finish(before, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The finest level, joined with all below it."""
        levels = [features.maps[index] for index in reversed(self.used)]
        joined = levels[0]
        for block, ratio, finer in zip(self.blocks, self.ratios, levels[1:], strict=True):
            joined = block(torch.cat([upsample_like(joined, finer, ratio, "bilinear"), finer], dim=1))
        return joined
