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
    """Bidirectional feature pyramid of EfficientDet: repeated top-down and bottom-up fusion of all levels, with a learned
    weight for each input of a fusion; cheap, because its convolutions are depthwise separable.

    Each level goes through a 1x1 convolution, and coarser levels are added. Each layer upsamples from coarse to fine, then
    pools from fine to coarse; on the bottom-up path each level is also fused with its input to the layer. Where several
    levels share a stride, the deepest one is used.

    Args:
        keep_levels: indices of the output levels that are read; None for all. Levels coarser than the last of these are left
            out; other unread levels keep their shape, and their values are undefined.
        channels: output channels of all levels; None: derived from the backbone (64 for MobileNetV2, 256 for ResNet-50).
        depth: how many layers; EfficientDet-D0 has 3.
        extra_levels: how many coarser levels are added before the fusion; EfficientDet has 2 (P6 and P7).
        extra: how they are made from the deepest level: "conv" by 3x3 convolutions of stride 2, "pool" by taking every second
            cell.
        finest_stride: levels finer than this are left out.
        norm: normalization after each convolution; "group" does not depend on the batch size.

    Raises:
        IncompatiblePartsError: fewer than two different strides, or strides that do not divide each other.
        ConfigError: an option is out of range.
    """

    paper: ClassVar[str] = (
        "Tan et al., EfficientDet: Scalable and Efficient Object Detection, CVPR 2020, arXiv 1911.09070 (differences: "
        "the skip connections share the first 1x1 convolution instead of a second one; group normalization by default)"
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
        check_range("neck 'bifpn'", minimum=1, channels=channels, depth=depth, finest_stride=finest_stride)
        check_range("neck 'bifpn'", minimum=0, extra_levels=extra_levels)
        self.used = deepest_of_each_stride(in_spec, finest_stride)
        ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(len(self.used) - 1)]
        self.width = channels or default_channels(in_spec)
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[index], self.width, 1, norm=norm, activation=False) for index in self.used
        )
        self.coarser = CoarserLevels(self.width, extra_levels, extra)
        self.rounds = nn.ModuleList(BiFPNLayer(self.width, [*ratios, *[2] * extra_levels], norm) for _ in range(depth))
        self.finest = 0
        strides = [in_spec.strides[index] for index in self.used]
        coarser = [strides[-1] * 2 ** (number + 1) for number in range(extra_levels)]
        self.out_spec = in_spec.with_levels([Level(self.width, stride) for stride in [*strides, *coarser]])
        if keep_levels is not None:
            self._leave_out_unread(keep_levels)

    def _leave_out_unread(self, keep_levels: Collection[int]) -> None:
        """Drops the layers that only unread levels need: all of the finer ones, the last bottom-up ones of the coarser ones."""
        self.finest = min(len(self.used) - 1, *keep_levels)
        for index in range(self.finest):
            self.lateral[index] = nn.Identity()
        for number, layer in enumerate(self.rounds):
            assert isinstance(layer, BiFPNLayer)
            layer.leave_out(self.finest, max(keep_levels) if number + 1 == len(self.rounds) else None)

    def forward(self, features: Features) -> Features:
        """All levels, fused, with the same channels."""
        inputs = [features.maps[index] for index in self.used]
        unread = [level.new_zeros(level.shape[0], self.width, *level.shape[2:]) for level in inputs[: self.finest]]
        maps = [self.lateral[level](inputs[level]) for level in range(self.finest, len(inputs))]
        maps += self.coarser(maps[-1])
        for layer in self.rounds:
            maps = layer(maps)
        return features.with_maps([*unread, *maps])


class BiFPNLayer(nn.Module):
    """One top-down pass from the coarsest level to the finest, and one bottom-up pass back.

    Args:
        channels: of all levels.
        ratios: of the strides of neighboring levels, finest pair first.
        norm: after each convolution.
    """

    def __init__(self, channels: int, ratios: Sequence[int], norm: Norm) -> None:
        super().__init__()
        self.ratios = list(ratios)
        self.down = nn.ModuleList(WeightedFusion(channels, 2, norm) for _ in ratios)
        # the coarsest level has no top-down map, only its input
        last = len(ratios) - 1
        self.up = nn.ModuleList(WeightedFusion(channels, 3 if step < last else 2, norm) for step in range(len(ratios)))

    def leave_out(self, finest: int, coarsest: int | None) -> None:
        """Drops levels finer than ``finest``, and the bottom-up steps to levels coarser than ``coarsest``."""
        self.ratios = self.ratios[finest:]
        self.down, self.up = self.down[finest:], self.up[finest:coarsest]

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(N, channels, h, w) for each level, finest first, in and out."""
        fused = list(maps)
        for fine in range(len(maps) - 2, -1, -1):
            fused[fine] = self.down[fine]([maps[fine], upsample_like(fused[fine + 1], maps[fine], self.ratios[fine])])
        for fine, fusion in enumerate(self.up):
            coarse = fine + 1
            pooled = pool_like(fused[fine], maps[coarse], self.ratios[fine])
            inputs = [maps[coarse], fused[coarse]] if coarse + 1 < len(maps) else [maps[coarse]]
            fused[coarse] = fusion([*inputs, pooled])
        return fused


class WeightedFusion(nn.Module):
    """A weighted mean of maps ("fast normalized fusion"), SiLU, and a separable convolution.

    Args:
        channels: of all maps.
        count: how many maps are fused.
        norm: after the convolution.
    """

    def __init__(self, channels: int, count: int, norm: Norm) -> None:
        super().__init__()
        self.weights = nn.Parameter(torch.ones(count))
        self.depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
        self.pointwise = nn.Conv2d(channels, channels, 1, bias=norm == "none")
        for conv in (self.depthwise, self.pointwise):
            init_conv_(conv, rectified=False)
        self.norm = make_norm(norm, channels)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """``count`` maps (N, channels, h, w) to one."""
        mixed = fuse(maps, self.weights)
        out: Tensor = self.norm(self.pointwise(self.depthwise(F.silu(mixed))))
        return out


def fuse(maps: Sequence[Tensor], weights: Tensor, epsilon: float = 1e-4) -> Tensor:
    """Weighted mean of maps; negative weights count as zero.

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
    """A fine map (N, C, h, w) at the size of a coarser one, by max pooling over each cell and its neighbors.

    Args:
        fine: has ``ratio`` times the coarse map's cells, or up to ``ratio - 1`` fewer.
        coarse: for its height and width.
    """
    size = max(3, ratio // 2 * 2 + 1)
    pooled = F.max_pool2d(fine, size, ratio, size // 2)
    return crop(pooled, *coarse.shape[-2:])  # a no-op: states for export that the sizes are equal
