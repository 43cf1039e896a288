"""The path aggregation network."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

import torch
from torch import Tensor, nn

from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.default_channels import default_channels
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import crop, upsample_like
from vertebra.necks.base import Neck
from vertebra.necks.fpn import CoarserLevels, deepest_of_each_stride


class PAFPN(Neck):
    """Path aggregation network: carries the meaning of the deep levels down to the fine ones, and then the exact places of
    the fine ones back up to the deep ones, all at one width.

    Every level goes through a 1x1 convolution. From the deepest on, each is doubled in size and meets the next finer
    one; then, from the finest on, each is halved by a convolution of stride 2 and meets the next coarser one. Of
    several levels with one stride the deepest is used.

    Args:
        keep_levels: indices of the levels that are read; None for all. Coarser ones than the last of these are left out; others
            keep their shape, and their values are undefined.
        channels: width of all levels; None: what fits the backbone (64 for MobileNetV2, 256 for ResNet-50).
        blocks: where two levels meet, they go side by side through a cross-stage partial block with this many
            bottlenecks, as YOLOX and RTMDet have it. 0: they are added and smoothed by a 3x3 convolution, as the
            network's own paper has it; at the same width that costs more than one bottleneck does.
        extra_levels: how many coarser levels are added, from the deepest one that comes out.
        extra: how: "conv" by 3x3 convolutions of stride 2, "pool" by every second cell.
        finest_stride: levels finer than this are left out.
        norm: normalization after each convolution of the pyramid; "group" learns alike from any batch size.

    Raises:
        IncompatiblePartsError: fewer than two different strides, or strides that do not divide each other.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Liu et al., Path Aggregation Network for Instance Segmentation, CVPR 2018, arXiv 1803.01534; blocks as in Ge "
        "et al., YOLOX, 2021, arXiv 2107.08430 (differences: all levels are brought to one width first; ReLU; "
        "normalized by groups unless told otherwise)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        channels: int | None = None,
        blocks: int = 1,
        extra_levels: int = 0,
        extra: Literal["conv", "pool"] = "conv",
        finest_stride: int = 4,
        norm: Literal["none", "group", "batch"] = "group",
    ) -> None:
        super().__init__()
        in_spec.require_levels()
        check_range("neck 'pafpn'", least=1, channels=channels, finest_stride=finest_stride)
        check_range("neck 'pafpn'", least=0, blocks=blocks, extra_levels=extra_levels)
        self.used = deepest_of_each_stride(in_spec, finest_stride)
        strides = [in_spec.strides[index] for index in self.used]
        self.ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(len(self.used) - 1)]
        self.width = channels or default_channels(in_spec)
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[index], self.width, 1, norm=norm, activation=False) for index in self.used
        )
        self.top_down = nn.ModuleList(_meeting(self.width, blocks, norm) for _ in self.ratios)
        # 3x3 convolutions for strides that double; wider where one step is larger, so that no cell is passed over
        self.shrink = nn.ModuleList(
            ConvNormAct(self.width, self.width, max(3, ratio // 2 * 2 + 1), stride=ratio, norm=norm)
            for ratio in self.ratios
        )
        self.bottom_up = nn.ModuleList(_meeting(self.width, blocks, norm) for _ in self.ratios)
        self.coarser = CoarserLevels(self.width, extra_levels, extra)
        self.finest = 0
        coarser = [strides[-1] * 2 ** (number + 1) for number in range(extra_levels)]
        self.out_spec = in_spec.with_levels([Level(self.width, stride) for stride in [*strides, *coarser]])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Leaves out the levels that nobody reads: finer ones wholly, coarser ones on the way back up."""
        deepest = len(self.used) - 1
        self.finest = min(deepest, *keep_levels)
        for index in range(self.finest):
            self.lateral[index] = self.top_down[index] = nn.Identity()
            self.shrink[index] = self.bottom_up[index] = nn.Identity()
        last = min(deepest, max(keep_levels))
        self.shrink, self.bottom_up = self.shrink[:last], self.bottom_up[:last]
        self.coarser.keep(max(keep_levels) - deepest)
        self.out_spec = self.out_spec.with_levels(self.out_spec.levels[: max(*keep_levels, deepest) + 1])

    def forward(self, features: Features) -> Features:
        """The levels at one width, and the coarser ones."""
        inputs = [features.maps[index] for index in self.used]
        unread = [level.new_zeros(level.shape[0], self.width, *level.shape[2:]) for level in inputs[: self.finest]]
        maps = [*unread, *(self.lateral[level](inputs[level]) for level in range(self.finest, len(inputs)))]
        for fine in range(len(maps) - 2, self.finest - 1, -1):
            above = upsample_like(maps[fine + 1], maps[fine], self.ratios[fine])
            maps[fine] = self.top_down[fine](above, maps[fine])
        for fine in range(self.finest, len(self.shrink)):
            coarse = maps[fine + 1]
            below = crop(self.shrink[fine](maps[fine]), *coarse.shape[-2:])  # nothing to cut; no export can prove that
            maps[fine + 1] = self.bottom_up[fine](below, coarse)
        return features.with_maps([*maps, *self.coarser(maps[-1])])


class CrossStageMeeting(nn.Module):
    """Two maps side by side; one narrow view of them goes through bottlenecks, another one around them.

    Wang et al., CSPNet, CVPR Workshops 2020, arXiv 1911.11929, in YOLOX's form: no shortcuts inside.

    Args:
        width: channels of each of the two maps, and of what comes out.
        blocks: how many bottlenecks, each a 1x1 and a 3x3 convolution at half the width.
    """

    def __init__(self, width: int, blocks: int, norm: Norm) -> None:
        super().__init__()
        inner = max(1, width // 2)
        self.path = ConvNormAct(2 * width, inner, 1, norm=norm)
        self.bypass = ConvNormAct(2 * width, inner, 1, norm=norm)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(ConvNormAct(inner, inner, 1, norm=norm), ConvNormAct(inner, inner, 3, norm=norm))
                for _ in range(blocks)
            )
        )
        self.join = ConvNormAct(2 * inner, width, 1, norm=norm)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two maps (N, width, h, w) to one."""
        both = torch.cat([one, other], dim=1)
        out: Tensor = self.join(torch.cat([self.blocks(self.path(both)), self.bypass(both)], dim=1))
        return out


class SummedMeeting(nn.Module):
    """The sum of two maps, smoothed by a 3x3 convolution.

    Args:
        width: channels of each of the two maps, and of what comes out.
    """

    def __init__(self, width: int, norm: Norm) -> None:
        super().__init__()
        self.smooth = ConvNormAct(width, width, 3, norm=norm)

    def forward(self, one: Tensor, other: Tensor) -> Tensor:
        """Two maps (N, width, h, w) to one."""
        out: Tensor = self.smooth(one + other)
        return out


def _meeting(width: int, blocks: int, norm: Norm) -> nn.Module:
    return CrossStageMeeting(width, blocks, norm) if blocks else SummedMeeting(width, norm)
