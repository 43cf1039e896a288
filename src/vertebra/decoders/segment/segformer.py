"""The SegFormer head."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Fit, fit_to
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class SegFormer(SegmentDecoder):
    """SegFormer head: one linear layer per level projects to the same channels, all maps are resized to the finest one, and one
    more linear layer fuses them. It is designed for transformer backbones with a large receptive field.

    Args:
        channels: channels of the decoder; None: derived from the backbone, at least 128.
        finest_stride: levels finer than this are left out.
        stride: stride of the logits; finer levels are downsampled to it. None: that of the finest level.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how levels are resized to the finest one ("corners" counts as "stride" there), and the logits to the canvas;
            "size" as in transformers.
    """

    paper: ClassVar[str] = (
        "Xie et al., SegFormer: Simple and Efficient Design for Semantic Segmentation with Transformers, NeurIPS 2021, "
        "arXiv 2105.15203"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        finest_stride: int = 4,
        stride: int | None = None,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'segformer'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'segformer'", minimum=1, channels=channels, finest_stride=finest_stride)
        last = {stride: index for index, stride in enumerate(in_spec.strides) if stride >= finest_stride}
        if not last:
            raise IncompatiblePartsError(
                f"a level at stride {finest_stride} or coarser", "Set a smaller 'finest_stride'."
            )
        self.in_levels = tuple(last.values())
        strides = [in_spec.strides[index] for index in self.in_levels]
        self.stride = strides[0] if stride is None else stride
        if self.stride not in strides:
            raise ConfigError(
                f"decoder 'segformer': 'stride' must be that of a level ({in_spec.describe()}), got {stride}"
            )
        self.base = self.in_levels[strides.index(self.stride)]
        self.ratios = [in_spec.ratio(index, self.base) if index > self.base else 1 for index in self.in_levels]
        width = channels or default_channels(in_spec, minimum=128)
        self.project = nn.ModuleList(nn.Conv2d(in_spec.channels[index], width, 1) for index in self.in_levels)
        self.fuse = ConvNormAct(len(self.in_levels) * width, width, 1)
        self.finish(width, dropout)
        self.used = self.in_levels
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """All levels, fused at the logits' stride."""
        base = features.maps[self.base]
        size = (base.shape[-2], base.shape[-1])
        inner: Fit = "size" if self.fit == "size" else "stride"
        levels = [
            fit_to(project(features.maps[index]), size, ratio, "size" if index < self.base else inner)
            for index, project, ratio in zip(self.used, self.project, self.ratios, strict=True)
        ]
        fused: Tensor = self.fuse(torch.cat(levels[::-1], dim=1))
        return fused
