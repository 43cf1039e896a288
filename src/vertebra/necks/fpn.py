"""The feature pyramid network."""

from __future__ import annotations

from collections.abc import Collection
from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.errors import JointError
from vertebra.features import Features, FeatureSpec, Level
from vertebra.layers.conv import ConvNormAct, Norm
from vertebra.layers.resample import upsample_like
from vertebra.layers.width import fitting_channels


class CoarserLevels(nn.Module):
    """Levels beyond the deepest one, each by a 3x3 convolution of stride 2 from the one before (P6, P7).

    A map of h cells gets ceil(h / 2), which is what a level of twice the stride has over the same canvas.
    """

    def __init__(self, channels: int, count: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(count))

    def forward(self, deepest: Tensor) -> list[Tensor]:
        levels: list[Tensor] = []
        for number, conv in enumerate(self.convs):
            levels.append(conv(deepest if number == 0 else F.relu(levels[-1])))
        return levels


class FPN(nn.Module):
    """Feature pyramid network: carries the meaning of the deep levels down to the fine ones, all at one width.

    Every level goes through a 1x1 convolution; from the deepest on, each is doubled in size and added to the next finer
    one, and a 3x3 convolution smooths the sum.

    Args:
        channels: width of all levels; None: what fits the backbone (64 for MobileNetV2, 256 for ResNet-50).
        extra_levels: how many coarser levels are added; RetinaNet and FCOS were published with 2 (P6 and P7).
        finest_stride: levels finer than this are left out.
        norm: normalisation after each convolution.
    """

    paper: ClassVar[str] = (
        "Lin et al., Feature Pyramid Networks for Object Detection, CVPR 2017, arXiv 1612.03144; "
        "P6 and P7 from P5 as in Lin et al., Focal Loss, ICCV 2017, arXiv 1708.02002"
    )

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        channels: int | None = None,
        extra_levels: int = 0,
        finest_stride: int = 4,
        norm: Literal["none", "group", "batch"] = "none",
    ) -> None:
        super().__init__()
        in_spec.require_levels()
        self.used = [index for index, level in enumerate(in_spec.levels) if level.stride >= finest_stride]
        strides = [in_spec.strides[index] for index in self.used]
        if len(set(strides)) < len(strides) or len(strides) < 2:
            raise JointError(
                "at least two levels of different strides", "Use neck 'simple_pyramid', which makes them from one."
            )
        self.ratios = [in_spec.ratio(self.used[n + 1], self.used[n]) for n in range(len(self.used) - 1)]
        width = channels or fitting_channels(in_spec)
        kind: Norm = norm
        self.lateral = nn.ModuleList(
            ConvNormAct(in_spec.channels[index], width, 1, norm=kind, activation=False) for index in self.used
        )
        self.smooth = nn.ModuleList(ConvNormAct(width, width, 3, norm=kind, activation=False) for _ in self.used)
        self.coarser = CoarserLevels(width, extra_levels)
        self.finest = 0
        coarser = [strides[-1] * 2 ** (number + 1) for number in range(extra_levels)]
        self.out_spec = in_spec.with_levels([Level(width, stride) for stride in [*strides, *coarser]])

    def restrict(self, levels: Collection[int]) -> None:
        """Leaves out what only makes levels that nobody reads.

        Args:
            levels: indices into `out_spec` of the levels that are read. The others keep their shape, but not their worth.
        """
        deepest = len(self.used) - 1
        read = {min(level, deepest) for level in levels}
        self.finest = min(read)
        for index in range(len(self.used)):
            if index not in read:
                self.smooth[index] = nn.Identity()
            if index < self.finest:
                self.lateral[index] = nn.Identity()
        self.coarser.convs = self.coarser.convs[: max(0, max(levels) - deepest)]
        self.out_spec = self.out_spec.with_levels(self.out_spec.levels[: max(max(levels), deepest) + 1])

    def forward(self, features: Features) -> Features:
        """The levels at one width, and the coarser ones."""
        inputs = [features.maps[index] for index in self.used]
        merged = [self.lateral[-1](inputs[-1])]
        for fine in range(len(inputs) - 2, -1, -1):
            above = upsample_like(merged[0], inputs[fine], self.ratios[fine])
            merged.insert(0, above if fine < self.finest else self.lateral[fine](inputs[fine]) + above)
        maps = [conv(level) for conv, level in zip(self.smooth, merged, strict=True)]
        return features.with_maps([*maps, *self.coarser(maps[-1])])
