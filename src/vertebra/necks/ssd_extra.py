"""The extra levels of SSD."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.init import init_conv_
from vertebra.layers.option_range import check_range
from vertebra.layers.separable import ClippedConvNorm
from vertebra.necks.base import Neck

START_LENGTH = 20.0


class SSDExtra(Neck):
    """Extra levels of SSD: passes the backbone's levels through and appends coarser ones for large objects, each made from the
    previous one by a small convolution of stride 2.

    Where several levels share a stride, the deepest one passes through. An extra level halves the channels by a 1x1
    convolution and the size by a 3x3 one.

    Args:
        keep_levels: indices of the output levels that are read; None for all. Levels coarser than the last of these are left
            out; other unread levels keep their shape, and their values are undefined.
        extra_levels: how many coarser levels are added, each of twice the previous stride.
        channels: channels of each extra level, including those of ``unpadded``; None: half of the deepest level's, then a
            quarter, between 64 and 512.
        finest_stride: levels finer than this are left out.
        separable: depthwise separable 3x3 convolutions, with BatchNorm (eps 1e-3) and ReLU6, as in SSDLite.
        norm: normalization after each convolution if they are not separable; the paper has none.
        unpadded: strides of further levels, made by 3x3 convolutions of stride 1 without padding, which reduce each side by two
            cells: ``[100, 300]`` as in SSD300. Such levels fit one canvas size only, here 300x300.
        rescaled: L2-normalizes the finest level over its channels and multiplies it by a learned factor per channel, which
            starts at 20, as in the paper for VGG's conv4_3. The extra levels are made from the unscaled map.

    Raises:
        ConfigError: an option is out of range.
        IncompatiblePartsError: there are no levels.
    """

    paper: ClassVar[str] = "Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325"

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        extra_levels: int = 3,
        channels: list[int] | None = None,
        finest_stride: int = 8,
        separable: bool = False,
        norm: Norm = "batch",
        unpadded: list[int] | None = None,
        rescaled: bool = False,
    ) -> None:
        super().__init__()
        in_spec.require_levels()
        check_range("neck 'ssd_extra'", minimum=1, finest_stride=finest_stride)
        check_range("neck 'ssd_extra'", minimum=0, extra_levels=extra_levels)
        deepest_of_stride = {stride: index for index, stride in enumerate(in_spec.strides)}
        self.used = [index for stride, index in deepest_of_stride.items() if stride >= finest_stride] or [
            len(in_spec.levels) - 1
        ]
        deepest = in_spec.levels[self.used[-1]]
        strides = [deepest.stride * 2 ** (number + 1) for number in range(extra_levels)]
        self.unpadded = list(unpadded or [])
        extra_strides = [deepest.stride, *strides, *self.unpadded]
        if extra_strides != sorted(set(extra_strides)):
            raise ConfigError(
                f"'unpadded' of neck 'ssd_extra' must be increasing strides, coarser than the other levels, got {unpadded}"
            )
        strides += self.unpadded
        widths = channels if channels is not None else _widths(deepest.channels, len(strides))
        if len(widths) != len(strides) or min(widths, default=8) < 2:
            raise ConfigError(
                f"'channels' of neck 'ssd_extra' must have one number for each of {len(strides)} extra levels, got {channels}"
            )
        in_channels = [deepest.channels, *widths]
        block = _separable if separable else _plain
        self.extra = nn.ModuleList(
            block(in_channels[number], widths[number], norm, padded=number < extra_levels)
            for number in range(len(widths))
        )
        finest = in_spec.levels[self.used[0]]
        self.factors = nn.Parameter(torch.full((finest.channels,), START_LENGTH)) if rescaled else None
        extra = [Level(width, stride) for width, stride in zip(widths, strides, strict=True)]
        self.out_spec = in_spec.with_levels([*(in_spec.levels[index] for index in self.used), *extra])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Drops the extra levels coarser than the coarsest one that is read."""
        kept = max(max(keep_levels), len(self.used) - 1) + 1
        self.extra = self.extra[: kept - len(self.used)]
        self.out_spec = self.out_spec.with_levels(self.out_spec.levels[:kept])
        if 0 not in keep_levels:
            self.factors = None

    def forward(self, features: Features) -> Features:
        """The input levels and the extra ones."""
        maps = [features.maps[index] for index in self.used]
        deepest = maps[-1]
        if self.factors is not None:
            maps[0] = F.normalize(maps[0]) * self.factors[:, None, None]
        for block in self.extra:
            deepest = block(deepest)
            maps.append(deepest)
        return features.with_maps(maps)


def _widths(channels: int, count: int) -> list[int]:
    """Half, then a quarter of the channels, as multiples of 8 between 64 and 512."""
    return [min(max(channels // (2 if number == 0 else 4) // 8 * 8, 64), 512) for number in range(count)]


def _plain(channels: int, width: int, norm: Norm, *, padded: bool) -> nn.Module:
    squeeze = ConvNormAct(channels, width // 2, 1, norm=norm)
    if padded:
        return nn.Sequential(squeeze, ConvNormAct(width // 2, width, 3, stride=2, norm=norm))
    return nn.Sequential(squeeze, _Unpadded(width // 2, width))


def _separable(channels: int, width: int, norm: Norm, *, padded: bool) -> nn.Module:
    if not padded:
        raise ConfigError("'unpadded' levels of neck 'ssd_extra' cannot be 'separable'")
    half = width // 2
    return nn.Sequential(
        ClippedConvNorm(channels, half, 1),
        ClippedConvNorm(half, half, 3, stride=2, groups=half),
        ClippedConvNorm(half, width, 1),
    )


class _Unpadded(nn.Module):
    """A 3x3 convolution without padding, followed by ReLU."""

    def __init__(self, channels: int, width: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, width, 3)
        init_conv_(self.conv, rectified=True)

    def forward(self, input: Tensor) -> Tensor:
        """(N, channels, h, w) to (N, width, h - 2, w - 2)."""
        if min(input.shape[-2:]) < 3:
            raise ConfigError(
                "the canvas is too small for the 'unpadded' levels of neck 'ssd_extra'; remove 'unpadded'"
            )
        return F.relu(self.conv(input))
