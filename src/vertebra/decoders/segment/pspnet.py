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
    """PSPNet decoder: each cell of the deepest level is classified together with means over grids of the whole image.
    It wants a backbone of a small stride (``output_stride: 8``).

    The canvas' padding is left out of the means. Encoder 'pyramid_pooling' has the same for other decoders.

    Args:
        channels: width of what the logits are made of; None: a quarter of the deepest level's, at least 64.
        grids: cells of each grid, along one side; None: those of the paper, 1, 2, 3 and 6.
        join_kernel_size: of the convolution that joins the level and the means.
        norm: normalization after each convolution.
        normalize_whole: also after that of a grid of one cell.
        kernel_size: of the convolution that gives the logits.
        dropout: before the logits.
        auxiliary: weight of the loss of a small head of its own on the second deepest level; 0 for none. The paper has 0.4.
        loss: which losses are summed.
        fit: how the grids are laid over the level, and the logits over the canvas.
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
        check_range("decoder 'pspnet'", least=0, most=1, dropout=dropout)
        sides = GRIDS if grids is None else tuple(grids)
        check_range("decoder 'pspnet'", least=1, channels=channels, grids=min(sides, default=0))
        deepest = in_spec.levels[-1]
        self.in_levels = (len(in_spec.levels) - 1,)
        self.stride = deepest.stride
        width = channels or max(64, deepest.channels // 4)
        each = max(1, deepest.channels // len(sides))
        self.pooling = PyramidPooling(
            deepest.channels, each, grids=sides, norm=norm, normalize_whole=normalize_whole, fit=fit
        )
        self.join = ConvNormAct(deepest.channels + len(sides) * each, width, join_kernel_size, norm=norm)
        self.finish(width, dropout, kernel_size)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The deepest level, joined with its means."""
        deepest = features.maps[-1]
        joined: Tensor = self.join(torch.cat([deepest, *self.pooling(deepest, self.stride, features.frame)], dim=1))
        return joined
