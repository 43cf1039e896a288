"""The UNet++ decoder."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.decoders.segment._unet_blocks import DecoderBlock, block_channels, levels_to_join, strides_beyond
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import Norm
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Mode
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class UNetPlusPlus(SegmentDecoder):
    """UNet++ decoder: a U-Net with nested dense skip connections, which reduce the semantic gap between the fused maps.

    Each level has a row of nodes. A node concatenates all previous maps of its row with the upsampled node of the next
    coarser row. The logits are computed from the last node of the finest level.

    Args:
        channels: channels of the last node at each finer level, deepest first; None: derived from the backbone and halved at
            each level, at least 32. The other nodes have the channels of their level.
        to_stride: stride of the logits: finer levels are left out, and upsampling continues beyond the finest level if needed;
            None: that of the finest level.
        interpolation: how a coarse map is upsampled.
        norm: normalization after each convolution.
        attention: "scse" weights channels and cells in each node (concurrent squeeze and excitation).
        kernel_size: of the classifier.
        dropout: before the logits.
        auxiliary: loss weight of an auxiliary head on the second deepest level; 0 for none.
        loss: the losses that are summed.
    """

    paper: ClassVar[str] = (
        "Zhou et al., UNet++: A Nested U-Net Architecture for Medical Image Segmentation, DLMIA 2018, arXiv 1807.10165 "
        "(differences: no deep supervision, interpolation instead of transposed convolution)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        labels: SegmentLabels,
        *,
        channels: list[int] | None = None,
        to_stride: int | None = None,
        interpolation: Mode = "bilinear",
        norm: Norm = "batch",
        attention: Literal["scse"] | None = None,
        kernel_size: Literal[1, 3] = 1,
        dropout: float = 0.0,
        auxiliary: float = 0.0,
        loss: SegmentLoss = DEFAULT_LOSS,
    ) -> None:
        super().__init__(in_spec, labels, loss=loss)
        check_range("decoder 'unetplusplus'", minimum=0, maximum=1, dropout=dropout)
        check_range("decoder 'unetplusplus'", minimum=1, channels=min(channels or [1]), to_stride=to_stride)
        self.used = levels_to_join(in_spec, to_stride)
        self.in_levels = tuple(self.used)
        deepest_first = list(reversed(self.used))
        finest = in_spec.strides[self.used[0]]
        beyond = strides_beyond("unetplusplus", finest, to_stride)
        steps = len(self.used) - 1
        widths = block_channels("unetplusplus", channels, steps, len(beyond), 2 * default_channels(in_spec))
        options: Any = {"interpolation": interpolation, "norm": norm, "attention": attention}
        self.rows = nn.ModuleList()
        coarser_row = [in_spec.channels[deepest_first[0]]]
        for step in range(steps):
            coarse, level = deepest_first[step], deepest_first[step + 1]
            skip_channels, stride, ratio = in_spec.channels[level], in_spec.strides[level], in_spec.ratio(coarse, level)
            row_channels = [skip_channels] * (step + 1) + [widths[step]]
            self.rows.append(
                nn.ModuleList(
                    DecoderBlock(coarser_row[n - 1], n * skip_channels, row_channels[n], stride, ratio, **options)
                    for n in range(1, step + 2)
                )
            )
            coarser_row = row_channels
        self.blocks = nn.ModuleList(
            DecoderBlock(in_channels, 0, width, stride, **options)
            for in_channels, width, stride in zip(widths[steps - 1 :], widths[steps:], beyond, strict=False)
        )
        self.stride = beyond[-1] if beyond else finest
        self.finish(widths[-1], dropout, kernel_size)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The last node of the finest level."""
        coarser_row = [features.maps[self.used[-1]]]
        rows: Any = self.rows
        for row, level in zip(rows, reversed(self.used[:-1]), strict=True):
            nodes = [features.maps[level]]
            for number, block in enumerate(row):
                # the nearest node first, the level itself last
                nodes.append(block(coarser_row[number], nodes[::-1], features.frame))
            coarser_row = nodes
        maps = coarser_row[-1]
        for block in self.blocks:
            maps = block(maps, [], features.frame)
        return maps
