"""The feature pyramid network."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.default_channels import default_channels
from vertebra.layers.init import init_conv_
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import upsample_like
from vertebra.necks.base import Neck


class CoarserLevels(nn.Module):
    """Levels coarser than the deepest one, each of half the size of the previous one (P6, P7).

    A map of h cells becomes one of ceil(h / 2), as a level of twice the stride has over the same padded canvas: its last
    row and column may lie partly, but never wholly, beyond that canvas.

    Args:
        channels: channels of all levels.
        count: how many levels.
        kind: "conv" for 3x3 convolutions of stride 2, with ReLU before all but the first; "pool" for every second
            cell.
        in_channels: channels of the input of the first one; None: ``channels``.
    """

    def __init__(
        self, channels: int, count: int, kind: Literal["conv", "pool"] = "conv", in_channels: int | None = None
    ) -> None:
        super().__init__()
        self.count = count
        self.convs: nn.ModuleList | None = None
        if kind == "conv":
            widths = [in_channels or channels, *[channels] * count]
            convs = [nn.Conv2d(previous, channels, 3, 2, 1) for previous in widths[:count]]
            for conv in convs:
                init_conv_(conv, rectified=False)
            self.convs = nn.ModuleList(convs)

    def truncate(self, count: int) -> None:
        """Leaves out all but the first ``count`` levels."""
        self.count = max(0, min(count, self.count))
        if self.convs is not None:
            self.convs = self.convs[: self.count]

    def forward(self, deepest: Tensor) -> list[Tensor]:
        """From the deepest level (N, in_channels, h, w) to the coarser ones, finest first."""
        levels: list[Tensor] = []
        for number in range(self.count):
            previous = levels[-1] if levels else deepest
            if self.convs is None:
                levels.append(F.max_pool2d(previous, 1, 2))
            else:
                levels.append(self.convs[number](F.relu(previous) if levels else previous))
        return levels


class FPN(Neck):
    """Feature pyramid network: a top-down path adds the semantics of the deep levels to the fine ones; all levels get the
    same number of channels.

    Each level goes through a 1x1 convolution. From the deepest level on, each map is upsampled and added to the next finer
    one, and a 3x3 convolution smooths the sum. Where several levels share a stride, the deepest one is used.

    Args:
        keep_levels: indices of the output levels that are read; None for all. Levels coarser than the last of these are left
            out; other unread levels keep their shape, and their values are undefined.
        channels: output channels of all levels; None: derived from the backbone (64 for MobileNetV2, 256 for ResNet-50).
        extra_levels: how many coarser levels are added; RetinaNet and FCOS were published with 2 (P6 and P7).
        extra: how they are made: "conv" by 3x3 convolutions of stride 2 from the pyramid's deepest level, as in RetinaNet;
            "conv_input" by such convolutions from the deepest input level; "pool" by taking every second cell, as in the FPN
            paper.
        finest_stride: levels finer than this are left out.
        norm: normalization after each convolution of the pyramid.
        every_level: uses all levels, including several of the same stride.

    Raises:
        IncompatiblePartsError: fewer than two different strides, or strides that do not divide each other.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017, arXiv 1612.03144; "
        "P6 and P7 from P5 as in Lin et al., Focal Loss, ICCV 2017, arXiv 1708.02002"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        channels: int | None = None,
        extra_levels: int = 0,
        extra: Literal["conv", "conv_input", "pool"] = "conv",
        finest_stride: int = 4,
        norm: Literal["none", "group", "batch"] = "none",
        every_level: bool = False,
    ) -> None:
        super().__init__()
        in_spec.require_levels()
        check_range("neck 'fpn'", minimum=1, channels=channels, finest_stride=finest_stride)
        check_range("neck 'fpn'", minimum=0, extra_levels=extra_levels)
        self.used = list(range(len(in_spec.levels))) if every_level else deepest_of_each_stride(in_spec, finest_stride)
        strides = [in_spec.strides[index] for index in self.used]
        self.ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(len(self.used) - 1)]
        width = channels or default_channels(in_spec)
        kind: Norm = norm
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[index], width, 1, norm=kind, activation=False) for index in self.used
        )
        self.smooth = nn.ModuleList(ConvNormAct(width, width, 3, norm=kind, activation=False) for _ in self.used)
        self.from_input = extra == "conv_input"
        coarser_in_channels = in_spec.channels[self.used[-1]] if self.from_input else width
        self.coarser = CoarserLevels(width, extra_levels, "pool" if extra == "pool" else "conv", coarser_in_channels)
        self.finest = 0
        coarser = [strides[-1] * 2 ** (number + 1) for number in range(extra_levels)]
        self.out_spec = in_spec.with_levels([Level(width, stride) for stride in [*strides, *coarser]])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Drops the layers that only unread levels need."""
        deepest = len(self.used) - 1
        read = {min(level, deepest) for level in keep_levels}
        self.finest = min(read)
        for index in range(len(self.used)):
            if index not in read:
                self.smooth[index] = nn.Identity()
            if index < self.finest:
                self.lateral[index] = nn.Identity()
        self.coarser.truncate(max(keep_levels) - deepest)
        self.out_spec = self.out_spec.with_levels(self.out_spec.levels[: max(max(keep_levels), deepest) + 1])

    def forward(self, features: Features) -> Features:
        """The pyramid's levels and the coarser ones, all with the same channels."""
        inputs = [features.maps[index] for index in self.used]
        merged = [self.lateral[-1](inputs[-1])]
        for fine in range(len(inputs) - 2, -1, -1):
            upsampled = upsample_like(merged[0], inputs[fine], self.ratios[fine])
            merged.insert(0, upsampled if fine < self.finest else self.lateral[fine](inputs[fine]) + upsampled)
        maps = [conv(level) for conv, level in zip(self.smooth, merged, strict=True)]
        return features.with_maps([*maps, *self.coarser(inputs[-1] if self.from_input else maps[-1])])


def deepest_of_each_stride(in_spec: FeatureSpec, finest_stride: int) -> list[int]:
    """Indices of the levels that the pyramid is made of, finest first."""
    last = {stride: index for index, stride in enumerate(in_spec.strides)}
    if len(last) < 2:
        raise IncompatiblePartsError(
            "at least two levels of different strides", "Use neck 'simple_pyramid', which makes them from one."
        )
    used = [index for stride, index in last.items() if stride >= finest_stride]
    if len(used) < 2:
        raise IncompatiblePartsError(
            f"at least two levels of different strides from {finest_stride} on", "Set a smaller 'finest_stride'."
        )
    return used
