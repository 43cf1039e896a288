"""The bidirectional feature pyramid of EfficientDet."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct, Norm, make_norm
from vertebra.layers.default_channels import default_channels
from vertebra.layers.init import init_conv_
from vertebra.layers.option_range import check_range
from vertebra.layers.resample import crop, upsample_like
from vertebra.necks.base import Neck
from vertebra.necks.fpn import CoarserLevels, deepest_of_each_stride


class BiFPN(Neck):
    """Bidirectional feature pyramid of EfficientDet: mixes all levels from coarse to fine and back, several times over, and
    learns how much each level counts wherever they meet; cheap, since all its convolutions are separable.

    Every level goes through a 1x1 convolution, and coarser ones are added. In each round the levels come down by
    doubling and go back up by pooling; on the way up a level also meets itself as it was before the round. Of several
    levels with one stride the deepest is used.

    Args:
        keep_levels: indices of the levels that are read; None for all. Coarser ones than the last of these are left out; others
            keep their shape, and their values are undefined.
        channels: width of all levels; None: what fits the backbone (64 for MobileNetV2, 256 for ResNet-50).
        depth: how many rounds; EfficientDet-D0 has 3.
        extra_levels: how many coarser levels take part; EfficientDet has 2 (P6 and P7).
        extra: how these are made from the deepest one: "conv" by 3x3 convolutions of stride 2, "pool" by every second
            cell.
        finest_stride: levels finer than this are left out.
        norm: normalization after each convolution; "group" learns alike from any batch size.

    Raises:
        IncompatiblePartsError: fewer than two different strides, or strides that do not divide each other.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Tan et al., EfficientDet: Scalable and Efficient Object Detection, CVPR 2020, arXiv 1911.09070 (differences: "
        "a level meets itself as the first 1x1 convolution made it, not by a second one; normalized by groups unless "
        "told otherwise)"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        keep_levels: Collection[int] | None = None,
        *,
        channels: int | None = None,
        depth: int = 3,
        extra_levels: int = 0,
        extra: Literal["conv", "pool"] = "conv",
        finest_stride: int = 4,
        norm: Literal["none", "group", "batch"] = "group",
    ) -> None:
        super().__init__()
        in_spec.require_levels()
        check_range("neck 'bifpn'", least=1, channels=channels, depth=depth, finest_stride=finest_stride)
        check_range("neck 'bifpn'", least=0, extra_levels=extra_levels)
        self.used = deepest_of_each_stride(in_spec, finest_stride)
        ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(len(self.used) - 1)]
        self.width = channels or default_channels(in_spec)
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[index], self.width, 1, norm=norm, activation=False) for index in self.used
        )
        self.coarser = CoarserLevels(self.width, extra_levels, extra)
        self.rounds = nn.ModuleList(Round(self.width, [*ratios, *[2] * extra_levels], norm) for _ in range(depth))
        self.finest = 0
        strides = [in_spec.strides[index] for index in self.used]
        coarser = [strides[-1] * 2 ** (number + 1) for number in range(extra_levels)]
        self.out_spec = in_spec.with_levels([Level(self.width, stride) for stride in [*strides, *coarser]])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Leaves out the levels that nobody reads: finer ones wholly, coarser ones on the last way back up."""
        self.finest = min(len(self.used) - 1, *keep_levels)
        for index in range(self.finest):
            self.lateral[index] = nn.Identity()
        for number, own in enumerate(self.rounds):
            assert isinstance(own, Round)
            own.leave_out(self.finest, max(keep_levels) if number + 1 == len(self.rounds) else None)

    def forward(self, features: Features) -> Features:
        """All levels at one width, mixed."""
        inputs = [features.maps[index] for index in self.used]
        unread = [level.new_zeros(level.shape[0], self.width, *level.shape[2:]) for level in inputs[: self.finest]]
        maps = [self.lateral[level](inputs[level]) for level in range(self.finest, len(inputs))]
        maps += self.coarser(maps[-1])
        for own in self.rounds:
            maps = own(maps)
        return features.with_maps([*unread, *maps])


class Round(nn.Module):
    """Once down from the coarsest level to the finest, and back up.

    Args:
        width: channels of all levels.
        ratios: of the strides of neighboring levels, finest pair first.
        norm: after each convolution.
    """

    def __init__(self, width: int, ratios: Sequence[int], norm: Norm) -> None:
        super().__init__()
        self.ratios = list(ratios)
        self.down = nn.ModuleList(Meeting(width, 2, norm) for _ in ratios)
        # the coarsest level has nothing above it, and so is met only as it came in
        inner = len(ratios) - 1
        self.up = nn.ModuleList(Meeting(width, 3 if place < inner else 2, norm) for place in range(len(ratios)))

    def leave_out(self, finest: int, coarsest: int | None) -> None:
        """Leaves out levels finer than ``finest``, and those coarser than ``coarsest`` on the way back up."""
        self.ratios = self.ratios[finest:]
        self.down, self.up = self.down[finest:], self.up[finest:coarsest]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(N, width, h, w) for each level, finest first, in and out."""
        met = list(maps)
        for fine in range(len(maps) - 2, -1, -1):
            met[fine] = self.down[fine]([maps[fine], upsample_like(met[fine + 1], maps[fine], self.ratios[fine])])
        for fine, meeting in enumerate(self.up):
            coarse = fine + 1
            below = pool_like(met[fine], maps[coarse], self.ratios[fine])
            inner = [maps[coarse], met[coarse]] if coarse + 1 < len(maps) else [maps[coarse]]
            met[coarse] = meeting([*inner, below])
        return met


class Meeting(nn.Module):
    """A weighted mean of maps ("fast normalized fusion"), SiLU, and a separable convolution.

    Args:
        width: channels of all maps.
        count: how many maps meet.
        norm: after the convolution.
    """

    def __init__(self, width: int, count: int, norm: Norm) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(count))
        self.depthwise = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.pointwise = nn.Conv2d(width, width, 1, bias=norm == "none")
        for conv in (self.depthwise, self.pointwise):
            init_conv_(conv, rectified=False)
        self.norm = make_norm(norm, width)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """``count`` maps (N, width, h, w) to one."""
        mixed = fuse(maps, self.weights)
        out: Tensor = self.norm(self.pointwise(self.depthwise(F.silu(mixed))))
        return out


def fuse(maps: Sequence[Tensor], weights: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Mean of maps by weights that never fall below zero.

    Args:
        maps: (N, C, h, w) each.
        weights: (count,) one for each map.
        epsilon: keeps the sum of the weights above zero.
    """
    positive = F.relu(weights)
    parts = (positive / (positive.sum() + epsilon)).unbind()
    mean = parts[0] * maps[0]
    for part, level in zip(parts[1:], maps[1:], strict=True):
        mean = mean + part * level
    return mean


def pool_like(fine: Tensor, coarse: Tensor, ratio: int) -> Tensor:
    """A fine map (N, C, h, w) at the size of a coarser one, by the largest of each cell and its neighbors.

    Args:
        fine: of ``ratio`` times the coarse map's cells, or up to ``ratio - 1`` fewer.
        coarse: for its height and width.
    """
    size = max(3, ratio // 2 * 2 + 1)
    pooled = F.max_pool2d(fine, size, ratio, size // 2)
    return crop(pooled, *coarse.shape[-2:])  # nothing to cut; no export can prove that
