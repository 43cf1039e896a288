"""Lite reduced atrous spatial pyramid pooling."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder, SegmentOutputs
from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Proposals
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.padding import valid_mean
from vertebra.layers.resample import Fit, fit_to
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class LRASPP(SegmentDecoder):
    """Lite R-ASPP, the lightest segmentation decoder: logits of the deepest level, gated by a global average, are added to the
    logits of one finer level.

    The padding of the canvas is excluded from the average.

    Args:
        channels: channels of the deep path; None: derived from the backbone, at least 128.
        dropout: before the deep path's logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how the deep path is resized to the finer level, and the logits to the canvas; "size" as in torchvision.
    """

    paper: ClassVar[str] = "Howard et al., Searching for MobileNetV3, ICCV 2019, arXiv 1905.02244, section 6.4"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        dropout: float = 0.0,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'lraspp'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'lraspp'", minimum=1, channels=channels)
        deepest = len(in_spec.levels) - 1
        finer = [index for index, stride in enumerate(in_spec.strides) if stride < in_spec.strides[deepest]]
        if not finer:
            raise IncompatiblePartsError("levels of at least two different strides", "Add neck 'simple_pyramid'.")
        self.low = next((index for index in finer if in_spec.strides[index] >= 8), finer[-1])
        self.in_levels = (self.low, deepest)
        self.ratio = in_spec.ratio(deepest, self.low)
        self.stride = in_spec.strides[self.low]
        width = channels or default_channels(in_spec, minimum=128)
        high = in_spec.channels[deepest]
        self.deep = ConvNormAct(high, width, 1)
        self.weigh = nn.Sequential(nn.Conv2d(high, width, 1, bias=False), nn.Sigmoid())
        self.low_classifier = nn.Conv2d(in_spec.channels[self.low], labels.class_count, 1)
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def forward(self, features: Features, proposals: Proposals | None = None) -> SegmentOutputs:
        """Logits at the finer level's stride."""
        return SegmentOutputs(self.low_classifier(features.maps[self.low]) + self.classifier(self.maps(features)))

    def maps(self, features: Features) -> Tensor:
        """The deep path at the finer level's size."""
        deepest, low = features.maps[-1], features.maps[self.low]
        mean = valid_mean(deepest, self.in_spec.strides[-1], features.frame)[:, :, None, None]
        weighted = self.deep(deepest) * self.weigh(mean)
        return fit_to(weighted, (low.shape[-2], low.shape[-1]), self.ratio, self.fit)
