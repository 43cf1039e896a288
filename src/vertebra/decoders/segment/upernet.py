"""The unified perceptual parsing decoder."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.norm import LayerNorm2d
from vertebra.layers.option_range import check_range
from vertebra.layers.pyramid_pooling import GRIDS, PyramidPooling
from vertebra.layers.resample import Fit, fit_to
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class UPerNet(SegmentDecoder):
    """UPerNet: pyramid pooling on the deepest level and a feature pyramid down to the finest, whose levels are all fused for the
    logits. A common choice on Swin, ConvNeXt and other strong backbones.

    Where several levels share a stride, the deepest one is used.

    Args:
        channels: channels of the decoder; None: derived from the backbone.
        finest_stride: levels finer than this are left out.
        level_norm: LayerNorm on each input level, for backbones whose levels differ in scale.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how levels are resized to finer ones ("corners" counts as "stride" there), and the logits to the canvas.
    """

    paper: ClassVar[str] = (
        "Xiao et al., Unified Perceptual Parsing for Scene Understanding, ECCV 2018, arXiv 1807.10221 (its segmentation head)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        finest_stride: int = 4,
        level_norm: bool = False,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'upernet'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'upernet'", minimum=1, channels=channels, finest_stride=finest_stride)
        last = {stride: index for index, stride in enumerate(in_spec.strides) if stride >= finest_stride}
        self.used = list(last.values())
        if len(self.used) < 2:
            raise IncompatiblePartsError(
                f"levels of at least two different strides from {finest_stride} on", "Add neck 'simple_pyramid'."
            )
        self.in_levels = tuple(self.used)
        self.strides = list(last)
        self.stride = self.strides[0]
        self.ratios = [in_spec.ratio(index, self.used[0]) for index in self.used]
        width = channels or default_channels(in_spec)
        in_channels = [in_spec.channels[index] for index in self.used]
        self.norms = nn.ModuleList(LayerNorm2d(count) if level_norm else nn.Identity() for count in in_channels)
        self.pooling = PyramidPooling(in_channels[-1], width)
        self.join = ConvNormAct(in_channels[-1] + len(GRIDS) * width, width)
        self.lateral = nn.ModuleList(ConvNormAct(count, width, 1) for count in in_channels[:-1])
        self.smooth = nn.ModuleList(ConvNormAct(width, width) for _ in in_channels[:-1])
        self.fuse = ConvNormAct(len(in_channels) * width, width)
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The levels of the pyramid, fused at the finest one's size."""
        inner: Fit = "size" if self.fit == "size" else "stride"
        levels = [norm(features.maps[index]) for norm, index in zip(self.norms, self.used, strict=True)]
        pooled = self.pooling(levels[-1], self.strides[-1], features.frame)
        merged: list[Tensor] = [self.join(torch.cat([levels[-1], *pooled], dim=1))]
        for number in range(len(levels) - 2, -1, -1):
            lateral = self.lateral[number](levels[number])
            ratio = self.strides[number + 1] // self.strides[number]
            merged.insert(0, lateral + fit_to(merged[0], (lateral.shape[-2], lateral.shape[-1]), ratio, inner))
        smoothed = [*(conv(level) for conv, level in zip(self.smooth, merged[:-1], strict=True)), merged[-1]]
        size = (smoothed[0].shape[-2], smoothed[0].shape[-1])
        resized = [fit_to(level, size, ratio, inner) for level, ratio in zip(smoothed, self.ratios, strict=True)]
        fused: Tensor = self.fuse(torch.cat(resized, dim=1))
        return fused
