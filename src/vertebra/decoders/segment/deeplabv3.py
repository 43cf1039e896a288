"""The DeepLabV3 head."""

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


class DeepLabV3(SegmentDecoder):
    """DeepLabV3 head: classifies each cell of the deepest level, usually from encoder 'aspp', and upsamples the logits.
    Use it with a dilated backbone (``output_stride: 8``).

    The paper's model is encoder 'aspp' with ``separable: false``, followed by this decoder.

    Args:
        depth: how many 3x3 convolutions precede the logits; torchvision and segmentation-models-pytorch have one.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
        fit: how the logits are resized to the canvas.
    """

    paper: ClassVar[str] = (
        "Chen et al., Rethinking Atrous Convolution for Semantic Image Segmentation, 2017, arXiv 1706.05587 (without its "
        "atrous spatial pyramid pooling, which is encoder 'aspp')"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        depth: int = 0,
        dropout: float = 0.0,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'deeplabv3'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'deeplabv3'", minimum=0, depth=depth)
        deepest = in_spec.levels[-1]
        self.in_levels = (len(in_spec.levels) - 1,)
        self.stride = deepest.stride
        self.body = nn.Sequential(*(ConvNormAct(deepest.channels, deepest.channels) for _ in range(depth)))
        self.finish(deepest.channels, dropout)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The deepest level."""
        maps: Tensor = self.body(features.maps[-1])
        return maps
