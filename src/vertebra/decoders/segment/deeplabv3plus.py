"""The DeepLabV3+ decoder."""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct, SeparableConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Fit, fit_to
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class DeepLabV3Plus(SegmentDecoder):
    """DeepLabV3+ decoder: refines the deepest level, usually from encoder 'aspp', with the detail of one fine level.

    Args:
        channels: channels of the decoder; None: derived from the backbone.
        low_level_channels: channels to which the fine level is reduced, so that the deep one dominates.
        depth: how many 3x3 convolutions follow the concatenation of both levels.
        deep_depth: how many 3x3 convolutions the deep level goes through before it.
        separable: depthwise separable convolutions.
        inner_norm: normalization and ReLU between the depthwise and the pointwise convolution, if they are separable;
            segmentation-models-pytorch has none there.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how the deep level is resized to the fine one, and the logits to the canvas.
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
        depth: int = 2,
        deep_depth: int = 0,
        separable: bool = True,
        inner_norm: bool = True,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'deeplabv3plus'", minimum=0, maximum=1, dropout=dropout)
        check_range(
            "decoder 'deeplabv3plus'", minimum=1, channels=channels, low_level_channels=low_level_channels, depth=depth
        )
        check_range("decoder 'deeplabv3plus'", minimum=0, deep_depth=deep_depth)
        fine = [index for index, stride in enumerate(in_spec.strides[:-1]) if stride in (4, 8)]
        if not fine or in_spec.strides[-1] <= in_spec.strides[fine[0]]:
            raise IncompatiblePartsError(
                "a level at stride 4 or 8",
                "Add neck 'simple_pyramid'."
                if len(set(in_spec.strides)) == 1
                else "Use decoder 'unet', which needs none.",
            )
        self.fine = fine[0]
        self.in_levels = (self.fine, len(in_spec.levels) - 1)
        self.ratio = in_spec.ratio(len(in_spec.levels) - 1, self.fine)
        self.stride = in_spec.strides[self.fine]
        width = channels or default_channels(in_spec, minimum=96)
        block = partial(SeparableConvNormAct, inner_norm=inner_norm) if separable else ConvNormAct
        deep = in_spec.levels[-1].channels
        self.deep = nn.Sequential(*(block(deep, deep) for _ in range(deep_depth)))
        self.reduce = ConvNormAct(in_spec.channels[self.fine], low_level_channels, 1)
        self.join = nn.Sequential(
            *(block(deep + low_level_channels if number == 0 else width, width) for number in range(depth))
        )
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The deep and the fine level, fused at the fine level's size."""
        detail = self.reduce(features.maps[self.fine])
        size = (detail.shape[-2], detail.shape[-1])
        upsampled = fit_to(self.deep(features.maps[-1]), size, self.ratio, self.fit)
        fused: Tensor = self.join(torch.cat([upsampled, detail], dim=1))
        return fused
