"""The UNet++ decoder."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from torch import Tensor, nn

from vertebra.decoders.segment._segment_decoder import SegmentDecoder
from vertebra.decoders.segment._unet_blocks import DecoderBlock, levels_to_join, step_widths, strides_beyond
from vertebra.features import Features, FeatureSpec
from vertebra.layers.conv import Norm
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import Mode
from vertebra.losses.segmentation_loss import DEFAULT_LOSS, SegmentLoss
from vertebra.tasks.segment.labels import SegmentLabels


class UNetPlusPlus(SegmentDecoder):
    """UNet++ decoder: a U-Net whose levels go up not once but again and again, so that what is joined is already alike.

    At each level stands a row of nodes. The first joins the level with the one below; each further one joins all before it
    in its row with the node below that is as far along. The last node of the finest level gives the logits.

    Args:
        channels: width of the last node at each finer level, deepest first; None: from twice what fits the backbone,
            halved at each level, at least 32. The nodes before have their level's own width.
        to_stride: the logits' stride: finer levels are left out, and beyond the finest one it goes on by doubling; None:
            the finest level's.
        interpolation: how a coarse map is brought to the finer level's size.
        norm: normalization after each convolution.
        attention: "scse" weights channels and cells in each node (concurrent squeeze and excitation).
        kernel_size: of the convolution that gives the logits.
        dropout: before the logits.
        auxiliary: weight of the loss of a small head of its own on the second deepest level; 0 for none.
        loss: which losses are summed.
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
        check_range("decoder 'unetplusplus'", least=0, most=1, dropout=dropout)
        check_range("decoder 'unetplusplus'", least=1, channels=min(channels or [1]), to_stride=to_stride)
        self.used = levels_to_join(in_spec, to_stride)
        self.in_levels = tuple(self.used)
        deepest_first = list(reversed(self.used))
        finest = in_spec.strides[self.used[0]]
        beyond = strides_beyond("unetplusplus", finest, to_stride)
        steps = len(self.used) - 1
        widths = step_widths("unetplusplus", channels, steps, len(beyond), 2 * default_channels(in_spec))
        options: Any = {"interpolation": interpolation, "norm": norm, "attention": attention}
        self.rows = nn.ModuleList()
        below = [in_spec.channels[deepest_first[0]]]
        for step in range(steps):
            coarse, level = deepest_first[step], deepest_first[step + 1]
            own, stride, ratio = in_spec.channels[level], in_spec.strides[level], in_spec.ratio(coarse, level)
            row = [own] * (step + 1) + [widths[step]]
            self.rows.append(
                nn.ModuleList(
                    DecoderBlock(below[n - 1], n * own, row[n], stride, ratio, **options) for n in range(1, step + 2)
                )
            )
            below = row
        self.blocks = nn.ModuleList(
            DecoderBlock(before, 0, width, stride, **options)
            for before, width, stride in zip(widths[steps - 1 :], widths[steps:], beyond, strict=False)
        )
        self.stride = beyond[-1] if beyond else finest
        self.finish(widths[-1], dropout, kernel_size)
        self.add_auxiliary(auxiliary)

    def maps(self, features: Features) -> Tensor:
        """The last node of the finest level."""
        below = [features.maps[self.used[-1]]]
        rows: Any = self.rows
        for row, level in zip(rows, reversed(self.used[:-1]), strict=True):
            nodes = [features.maps[level]]
            for number, block in enumerate(row):
                # the nearest node first, the level itself last
                nodes.append(block(below[number], nodes[::-1], features.frame))
            below = nodes
        joined = below[-1]
        for block in self.blocks:
            joined = block(joined, [], features.frame)
        return joined
