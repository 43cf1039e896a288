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
    """Path aggregation network: a feature pyramid with a second, bottom-up path, which carries the exact positions of the
    fine levels back to the deep ones.

    Each level goes through a 1x1 convolution. Top-down, each map is upsampled and fused with the next finer one;
    bottom-up, each map is halved by a convolution of stride 2 and fused with the next coarser one. Where several levels
    share a stride, the deepest one is used.

    Args:
        keep_levels: indices of the output levels that are read; None for all. Levels coarser than the last of these are left
            out; other unread levels keep their shape, and their values are undefined.
        channels: output channels of all levels; None: derived from the backbone (64 for MobileNetV2, 256 for ResNet-50).
        blocks: bottlenecks of the cross-stage partial (CSP) block that fuses two concatenated levels, as in YOLOX and RTMDet.
            0: the levels are added and smoothed by a 3x3 convolution, as in the paper; with the same channels that costs more
            than one bottleneck.
        extra_levels: how many coarser levels are added after the deepest output level.
        extra: how they are made: "conv" by 3x3 convolutions of stride 2, "pool" by taking every second cell.
        finest_stride: levels finer than this are left out.
        norm: normalization after each convolution of the pyramid; "group" does not depend on the batch size.

    Raises:
        IncompatiblePartsError: fewer than two different strides, or strides that do not divide each other.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Liu et al., Path Aggregation Network for Instance Segmentation, CVPR 2018, arXiv 1803.01534; blocks as in Ge "
        "et al., YOLOX, 2021, arXiv 2107.08430 (differences: all levels are projected to the same channels "
        "first; ReLU; group normalization by default)"
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
        check_range("neck 'pafpn'", minimum=1, channels=channels, finest_stride=finest_stride)
        check_range("neck 'pafpn'", minimum=0, blocks=blocks, extra_levels=extra_levels)
        self.used = deepest_of_each_stride(in_spec, finest_stride)
        strides = [in_spec.strides[index] for index in self.used]
        self.ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(len(self.used) - 1)]
        self.width = channels or default_channels(in_spec)
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[index], self.width, 1, norm=norm, activation=False) for index in self.used
        )
        self.top_down = nn.ModuleList(_fusion_block(self.width, blocks, norm) for _ in self.ratios)
        # 3x3 kernels for ratio 2, larger kernels for larger ratios, so that no cell is skipped
        self.shrink = nn.ModuleList(
            ConvNormAct(self.width, self.width, max(3, ratio // 2 * 2 + 1), stride=ratio, norm=norm)
            for ratio in self.ratios
        )
        self.bottom_up = nn.ModuleList(_fusion_block(self.width, blocks, norm) for _ in self.ratios)
        self.coarser = CoarserLevels(self.width, extra_levels, extra)
        self.finest = 0
        coarser = [strides[-1] * 2 ** (number + 1) for number in range(extra_levels)]
        self.out_spec = in_spec.with_levels([Level(self.width, stride) for stride in [*strides, *coarser]])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Drops the layers that only unread levels need: all of the finer ones, the bottom-up ones of the coarser ones."""
        deepest = len(self.used) - 1
        self.finest = min(deepest, *keep_levels)
        for index in range(self.finest):
            self.lateral[index] = self.top_down[index] = nn.Identity()
            self.shrink[index] = self.bottom_up[index] = nn.Identity()
        last = min(deepest, max(keep_levels))
        self.shrink, self.bottom_up = self.shrink[:last], self.bottom_up[:last]
        self.coarser.truncate(max(keep_levels) - deepest)
        self.out_spec = self.out_spec.with_levels(self.out_spec.levels[: max(*keep_levels, deepest) + 1])

    def forward(self, features: Features) -> Features:
        """The pyramid's levels and the coarser ones, all with the same channels."""
        inputs = [features.maps[index] for index in self.used]
        unread = [level.new_zeros(level.shape[0], self.width, *level.shape[2:]) for level in inputs[: self.finest]]
        maps = [*unread, *(self.lateral[level](inputs[level]) for level in range(self.finest, len(inputs)))]
        for fine in range(len(maps) - 2, self.finest - 1, -1):
            upsampled = upsample_like(maps[fine + 1], maps[fine], self.ratios[fine])
            maps[fine] = self.top_down[fine](upsampled, maps[fine])
        for fine in range(self.finest, len(self.shrink)):
            coarse = maps[fine + 1]
            downsampled = crop(
                self.shrink[fine](maps[fine]), *coarse.shape[-2:]
            )  # a no-op: states for export that the sizes are equal
            maps[fine + 1] = self.bottom_up[fine](downsampled, coarse)
        return features.with_maps([*maps, *self.coarser(maps[-1])])


class CSPFusion(nn.Module):
    """Fuses two maps by a cross-stage partial block: one projection of both goes through bottlenecks, the other bypasses them.

    Wang et al., CSPNet, CVPR Workshops 2020, arXiv 1911.11929, as in YOLOX: without shortcuts in the bottlenecks.

    Args:
        channels: of each of the two maps, and of the output.
        blocks: how many bottlenecks, each a 1x1 and a 3x3 convolution with half of the channels.
    """

    def __init__(self, channels: int, blocks: int, norm: Norm) -> None:
        super().__init__()
        inner = max(1, channels // 2)
        self.path = ConvNormAct(2 * channels, inner, 1, norm=norm)
        self.bypass = ConvNormAct(2 * channels, inner, 1, norm=norm)
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(ConvNormAct(inner, inner, 1, norm=norm), ConvNormAct(inner, inner, 3, norm=norm))
                for _ in range(blocks)
            )
        )
        self.join = ConvNormAct(2 * inner, channels, 1, norm=norm)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps (N, channels, h, w) to one."""
        both = torch.cat([first, second], dim=1)
        out: Tensor = self.join(torch.cat([self.blocks(self.path(both)), self.bypass(both)], dim=1))
        return out


class SumFusion(nn.Module):
    """The sum of two maps, smoothed by a 3x3 convolution.

    Args:
        channels: of each of the two maps, and of the output.
    """

    def __init__(self, channels: int, norm: Norm) -> None:
        super().__init__()
        self.smooth = ConvNormAct(channels, channels, 3, norm=norm)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Two maps (N, channels, h, w) to one."""
        out: Tensor = self.smooth(first + second)
        return out


def _fusion_block(channels: int, blocks: int, norm: Norm) -> nn.Module:
    return CSPFusion(channels, blocks, norm) if blocks else SumFusion(channels, norm)
