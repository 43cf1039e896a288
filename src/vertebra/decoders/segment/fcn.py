"""The fully convolutional head."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Fit
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class FCN(SegmentDecoder):
    """Fully convolutional head, the simplest segmentation decoder: convolutions on the deepest level, then upsampled logits.
    Use it with a dilated backbone (``output_stride: 8``).

    Args:
        channels: channels of the decoder; None: a quarter of the deepest level's, at least 64.
        depth: how many 3x3 convolutions.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how the logits are resized to the canvas; "size" as in torchvision.
    """

    paper: ClassVar[str] = (
        "Long et al., Fully Convolutional Networks for Semantic Segmentation, CVPR 2015, arXiv 1411.4038 (as in "
        "torchvision: dilated backbone, no skip connections)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        depth: int = 1,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'fcn'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'fcn'", minimum=1, channels=channels, depth=depth)
        deepest = in_spec.levels[-1]
        self.in_levels = (len(in_spec.levels) - 1,)
        self.stride = deepest.stride
        width = channels or max(64, deepest.channels // 4)
        self.body = nn.Sequential(
            *(ConvNormAct(deepest.channels if number == 0 else width, width) for number in range(depth))
        )
        self.finish(width, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The deepest level after the convolutions."""
        maps: Tensor = self.body(features.maps[-1])
        return maps
