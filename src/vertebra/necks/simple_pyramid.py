"""The simple feature pyramid of ViTDet."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar

from torch import Tensor, nn

from vertebra.errors import IncompatiblePartsError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.default_channels import default_channels
from vertebra.layers.norm import LayerNorm2d
from vertebra.layers.option_range import check_range
from vertebra.layers.pool import HalvingMaxPool
from vertebra.layers.resample import ceil_divided
from vertebra.necks.base import Neck
from vertebra.necks.fpn import CoarserLevels


class SimplePyramid(Neck):
    """Simple feature pyramid of ViTDet: makes finer and coarser levels from the single-stride map of a plain vision transformer.

    The last level, at stride s, gives s/4 and s/2 by transposed convolutions, s itself, and 2s by pooling; each then goes
    through a 1x1 and a 3x3 convolution with LayerNorm. Strides are whole numbers, so a stride of 14 gives 7, 14 and 28.

    All maps cover the canvas padded to a multiple of s, as a vision transformer returns them: h cells become 4h, 2h, h and
    ceil(h / 2).

    Args:
        keep_levels: indices of the output levels that are read; None for all. Levels coarser than the last of these are left
            out; other unread levels keep their shape, and their values are undefined.
        channels: output channels of all levels; None: derived from the backbone.
        extra_levels: how many levels coarser than 2s are added.

    Raises:
        IncompatiblePartsError: the levels have several strides, or there are none.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Li et al., Exploring Plain Vision Transformer Backbones for Object Detection, ECCV 2022, arXiv 2203.16527"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        channels: int | None = None,
        extra_levels: int = 0,
    ) -> None:
        super().__init__()
        in_spec.require_levels()
        check_range("neck 'simple_pyramid'", minimum=1, channels=channels)
        check_range("neck 'simple_pyramid'", minimum=0, extra_levels=extra_levels)
        if len(set(in_spec.strides)) > 1:
            raise IncompatiblePartsError(
                "levels of one single stride", "Use neck 'fpn', which fuses levels of different strides."
            )
        level = in_spec.levels[-1]
        width = channels or default_channels(in_spec)
        halvings = 2 if level.stride % 4 == 0 else 1 if level.stride % 2 == 0 else 0
        scales = [_finer(level.channels, times) for times in range(halvings, 0, -1)]
        scales += [_Scale(nn.Identity(), level.channels), _Scale(HalvingMaxPool(), level.channels)]
        self.stride = level.stride
        self.scales = nn.ModuleList(
            nn.Sequential(
                scale.body,
                nn.Conv2d(scale.channels, width, 1, bias=False),
                LayerNorm2d(width),
                nn.Conv2d(width, width, 3, padding=1, bias=False),
                LayerNorm2d(width),
            )
            for scale in scales
        )
        self.coarser = CoarserLevels(width, extra_levels)
        strides = [level.stride // 2**times for times in range(halvings, 0, -1)]
        strides += [level.stride * 2**times for times in range(extra_levels + 2)]
        self.out_spec = in_spec.with_levels([Level(width, stride) for stride in strides])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Drops the unread levels, except the deepest scale, from which the coarser levels are made."""
        deepest = len(self.scales) - 1
        read = {min(level, deepest) for level in keep_levels}
        for index in range(len(self.scales)):
            if index not in read:
                self.scales[index] = _Unread(self.out_spec.levels[index], self.stride)
        self.coarser.truncate(max(keep_levels) - deepest)
        self.out_spec = self.out_spec.with_levels(self.out_spec.levels[: max(max(keep_levels), deepest) + 1])

    def forward(self, features: Features) -> Features:
        """The pyramid over the last level."""
        maps = [scale(features.maps[-1]) for scale in self.scales]
        return features.with_maps([*maps, *self.coarser(maps[-1])])


class _Unread(nn.Module):
    """Zeros in the shape of a level that nobody reads."""

    def __init__(self, level: Level, stride: int) -> None:
        super().__init__()
        self.level = level
        self.stride = stride

    def forward(self, maps: Tensor) -> Tensor:
        height, width = (ceil_divided(side * self.stride, self.level.stride) for side in maps.shape[-2:])
        return maps.new_zeros(maps.shape[0], self.level.channels, height, width)


class _Scale:
    """A change of scale, and its output channels."""

    def __init__(self, body: nn.Module, channels: int) -> None:
        self.body = body
        self.channels = channels


def _finer(channels: int, times: int) -> _Scale:
    """Doubles the size ``times`` times, halving the channels each time."""
    layers: list[nn.Module] = []
    for number in range(times):
        half = max(1, channels // 2)
        layers.append(nn.ConvTranspose2d(channels, half, 2, 2))
        if number + 1 < times:
            layers += [LayerNorm2d(half), nn.GELU()]
        channels = half
    return _Scale(nn.Sequential(*layers), channels)
