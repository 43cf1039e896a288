"""The DeepLabV3+ decoder."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.decoders.segment_head import SegmentDecoder
from vertebra.errors import JointError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct, SeparableConvNormAct
from vertebra.layers.limits import check_limits
from vertebra.layers.resample import upsample_like
from vertebra.layers.width import fitting_channels
from vertebra.losses.segment_sum import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class DeepLabV3Plus(SegmentDecoder):
    """DeepLabV3+ decoder: sharpens the deepest level (usually from encoder 'aspp') with one fine level's detail.

    Args:
        channels: width; None: what fits the backbone.
        low_level_channels: to how many channels the fine level is reduced, so that it does not outweigh the deep one.
        separable: depthwise-separable convolutions.
        dropout: before the logits.
        auxiliary: weight of the loss of a small head of its own on the second deepest level; 0 for none.
        loss: which losses are summed.
    """

    paper: ClassVar[str] = (
        "Chen et al., Encoder-Decoder with Atrous Separable Convolution for Semantic Image Segmentation, ECCV 2018, "
        "arXiv 1802.02611"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        low_level_channels: int = 48,
        separable: bool = True,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
    ) -> None:
        super().__init__(in_spec, labels, loss=loss)
        check_limits("decoder 'deeplabv3plus'", least=0, most=1, dropout=dropout)
        check_limits("decoder 'deeplabv3plus'", least=1, channels=channels, low_level_channels=low_level_channels)
        fine = [index for index, stride in enumerate(in_spec.strides[:-1]) if stride in (4, 8)]
        if not fine or in_spec.strides[-1] <= in_spec.strides[fine[0]]:
            raise JointError(
                "a level at stride 4 or 8",
                "Add neck 'simple_pyramid'."
                if len(set(in_spec.strides)) == 1
                else "Take decoder 'unet', which needs none.",
            )
        self.fine = fine[0]
        self.reads = (self.fine, len(in_spec.levels) - 1)
        self.ratio = in_spec.ratio(len(in_spec.levels) - 1, self.fine)
        self.stride = in_spec.strides[self.fine]
        width = channels or fitting_channels(in_spec, least=96)
        block = SeparableConvNormAct if separable else ConvNormAct
        self.reduce = ConvNormAct(in_spec.channels[self.fine], low_level_channels, 1)
        self.join = nn.Sequential(block(in_spec.levels[-1].channels + low_level_channels, width), block(width, width))
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """Deep meaning and fine detail at the fine level's size."""
        detail = self.reduce(features.maps[self.fine])
        meaning = upsample_like(features.maps[-1], detail, self.ratio, "bilinear")
        joined: Tensor = self.join(torch.cat([meaning, detail], dim=1))
        return joined
