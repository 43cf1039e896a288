"""Shared by the dense detectors: the selection of levels, the width, and the convolution towers over all levels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch.nn.functional as F
from torch import Tensor, nn

from vertebra.errors import ConfigError, IncompatiblePartsError
from vertebra.features import FeatureSpec, Level

Norm = Literal["none", "group", "batch"]
PRIOR_LOGIT = -math.log((1 - 0.01) / 0.01)


def used_levels(in_spec: FeatureSpec, finest_stride: int | None) -> list[int]:
    """Indices of the levels that a dense detector uses.

    Of several levels with one stride (as in a plain ViT) only the deepest is used.

    Args:
        in_spec: the input levels.
        finest_stride: the finest stride to use; None: 8 if that leaves two levels, otherwise 4.

    Raises:
        IncompatiblePartsError: no level is left.
    """
    in_spec.require_levels()
    deepest = [
        index
        for index, stride in enumerate(in_spec.strides)
        if index + 1 == len(in_spec.strides) or in_spec.strides[index + 1] != stride
    ]

    def from_stride(stride: int) -> list[int]:
        return [index for index in deepest if in_spec.strides[index] >= stride]

    stride = finest_stride if finest_stride is not None else 8 if len(from_stride(8)) >= 2 else 4
    if not from_stride(stride):
        raise IncompatiblePartsError(
            f"a level at stride {stride} or coarser",
            "Choose coarser levels of the backbone." if finest_stride is None else "Set a smaller 'finest_stride'.",
        )
    return from_stride(stride)


def default_width(levels: Sequence[Level]) -> int:
    """Default channels of the heads.

    The levels' channels where they are the same (behind a neck); otherwise an eighth of the deepest level's, between
    64 and 256. Heads run at every cell of every level: 256 channels cost 16 times as much as 64.
    """
    channels = {level.channels for level in levels}
    if len(channels) == 1 and levels[-1].channels <= 256 and levels[-1].channels % 8 == 0:
        return levels[-1].channels
    return min(max(round(levels[-1].channels / 8 / 32) * 32, 64), 256)


class DenseHead(nn.Module):
    """Two towers of convolutions, one for classes and one for boxes, shared over all levels.

    A level whose channels differ from the head's width first passes through a 1x1 convolution, so the head works
    with and without a neck.

    Args:
        in_spec: the input features.
        channels: width of the towers, a multiple of 8; None: see `default_width`.
        depth: convolutions in each tower; None: 4 from 256 channels on, else 2.
        norm: normalization after each convolution: "group" (groups of 8 channels; any batch size), "batch" (with
            separate statistics for each level), or "none".
        finest_stride: see `used_levels`.
        biased: whether convolutions have a bias in front of a normalization; without normalization they always have one.

    Raises:
        IncompatiblePartsError: no level can be used.
        ConfigError: an option is out of range.
    """

    def __init__(
        self,
        in_spec: FeatureSpec,
        *,
        channels: int | None,
        depth: int | None,
        norm: Norm,
        finest_stride: int | None,
        biased: bool = False,
    ) -> None:
        super().__init__()
        self.indices = used_levels(in_spec, finest_stride)
        levels = [in_spec.levels[index] for index in self.indices]
        self.strides = [level.stride for level in levels]
        self.width = default_width(levels) if channels is None else channels
        if self.width < 8 or self.width % 8:
            raise ConfigError(f"'channels' must be a positive multiple of 8, got {self.width}")
        count = (4 if self.width >= 256 else 2) if depth is None else depth
        if count < 0:
            raise ConfigError(f"'depth' must be 0 or more, got {count}")
        self.projections = nn.ModuleList(
            nn.Identity() if level.channels == self.width else nn.Conv2d(level.channels, self.width, 1)
            for level in levels
        )
        self.class_tower = SharedTower(self.width, count, norm, len(levels), biased=biased)
        self.box_tower = SharedTower(self.width, count, norm, len(levels), biased=biased)

    def forward(self, maps: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        """Maps of the class tower and of the box tower, (N, width, h, w) for each level used, finest first."""
        projected = [project(maps[index]) for index, project in zip(self.indices, self.projections, strict=True)]
        return self.class_tower(projected), self.box_tower(projected)


class SharedTower(nn.Module):
    """Several times convolution, normalization and ReLU, with the same weights on all levels.

    Args:
        width: channels in and out.
        depth: how many convolutions.
        norm: see `DenseHead`.
        levels: how many levels; batch normalization keeps statistics for each.
        biased: see `DenseHead`.
    """

    def __init__(self, width: int, depth: int, norm: Norm, levels: int, *, biased: bool = False) -> None:
        super().__init__()
        bias = biased or norm == "none"
        self.convs = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1, bias=bias) for _ in range(depth))
        self.norms = nn.ModuleList(_norms(width, norm, levels) for _ in range(depth))
        for conv in self.convs:
            assert isinstance(conv, nn.Conv2d)
            nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
            if conv.bias is not None:
                nn.init.zeros_(conv.bias)

    def forward(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """(N, width, h, w) for each level, in and out."""
        out = []
        for level, feature in enumerate(maps):
            for conv, norms in zip(self.convs, self.norms, strict=True):
                assert isinstance(norms, nn.ModuleList)
                feature = F.relu(norms[level % len(norms)](conv(feature)))
            out.append(feature)
        return out


def _norms(width: int, norm: Norm, levels: int) -> nn.ModuleList:
    """The normalizations after one convolution: one for all levels, or one for each."""
    if norm == "batch":
        return nn.ModuleList(LevelBatchNorm(width) for _ in range(levels))
    return nn.ModuleList([nn.GroupNorm(width // 8, width) if norm == "group" else nn.Identity()])


class LevelBatchNorm(nn.BatchNorm2d):
    """Batch normalization that uses its running statistics where the input is a single cell."""

    def forward(self, input: Tensor) -> Tensor:
        """(N, C, h, w) in and out."""
        if input.shape[0] * input.shape[2] * input.shape[3] == 1:
            return F.batch_norm(
                input, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(input)


class DensePrediction(nn.Conv2d):
    """The last convolution: ``values`` numbers for each candidate (anchor or location) of each cell.

    Args:
        width: channels in.
        per_cell: candidates in a cell.
        values: numbers for each candidate.
        bias: initial value of all numbers.
        kernel_size: odd.
    """

    def __init__(self, width: int, per_cell: int, values: int, bias: float = 0.0, kernel_size: int = 3) -> None:
        super().__init__(width, per_cell * values, kernel_size, padding=kernel_size // 2)
        self.values = values
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None
        nn.init.constant_(self.bias, bias)

    def forward(self, input: Tensor) -> Tensor:
        """From (N, width, h, w) to (N, h * w * candidates, values), row by row, a cell's candidates next to each other."""
        out = super().forward(input)
        batch, _, height, width = out.shape
        cells = out.reshape(batch, -1, self.values, height, width).permute(0, 3, 4, 1, 2)
        return cells.reshape(batch, -1, self.values)
