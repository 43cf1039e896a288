"""The pyramid scene parsing network."""

from __future__ import annotations

from typing import ClassVar, Literal

import torch
from torch import Tensor

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.option_range import check_range
from vertebra.layers.pyramid_pooling import GRIDS, PyramidPooling
from vertebra.layers.resample import Fit
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class PSPNet(SegmentDecoder):
    """PSPNet decoder: classifies each cell of the deepest level together with averages over grids of the whole image.
    Use it with a dilated backbone (``output_stride: 8``).

    The padding of the canvas is excluded from the averages. Encoder 'pyramid_pooling' does the same for other decoders.

    Args:
        channels: input channels of the classifier; None: a quarter of the deepest level's, at least 64.
        grids: cells of each grid along one side; None: those of the paper, 1, 2, 3 and 6.
        join_kernel_size: of the convolution that fuses the level and the averages.
        norm: normalization after each convolution.
        normalize_whole: also normalizes the grid of one cell.
        kernel_size: of the classifier.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none. The paper has 0.4.
        loss: the losses that are summed.
        fit: how the grids are resized to the level, and the logits to the canvas.
    """

    paper: ClassVar[str] = "Zhao et al., Pyramid Scene Parsing Network, CVPR 2017, arXiv 1612.01105"

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: int | None = None,
        grids: list[int] | None = None,
        join_kernel_size: Literal[1, 3] = 3,
        norm: Norm = "batch",
        normalize_whole: bool = True,
        kernel_size: Literal[1, 3] = 1,
        dropout: float = 0.1,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
        fit: Fit = "stride",
    ) -> None:
        super().__init__(in_spec, labels, loss=loss, fit=fit)
        check_range("decoder 'pspnet'", minimum=0, maximum=1, dropout=dropout)
        sides = GRIDS if grids is None else tuple(grids)
        check_range("decoder 'pspnet'", minimum=1, channels=channels, grids=min(sides, default=0))
        deepest = in_spec.levels[-1]
        self.in_levels = (len(in_spec.levels) - 1,)
        self.stride = deepest.stride
        width = channels or max(64, deepest.channels // 4)
        grid_channels = max(1, deepest.channels // len(sides))
        self.pooling = PyramidPooling(
            deepest.channels, grid_channels, grids=sides, norm=norm, normalize_whole=normalize_whole, fit=fit
        )
        self.join = ConvNormAct(deepest.channels + len(sides) * grid_channels, width, join_kernel_size, norm=norm)
        self.finish(width, dropout, kernel_size)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The deepest level, fused with its averages."""
        deepest = features.maps[-1]
        fused: Tensor = self.join(torch.cat([deepest, *self.pooling(deepest, self.stride, features.frame)], dim=1))
        return fused
