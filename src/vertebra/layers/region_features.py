"""RoIAlign of regions on the level of a pyramid that fits their size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from vertebra.layers.roi import list_areas, listed_features, summed_features
from vertebra.layers.tracing import is_tracing

CANONICAL, CANONICAL_STRIDE = 224.0, 16.0


class RegionFeatures(nn.Module):
    """RoIAlign of each region on the level for its size: a region of 224 pixels is read at stride 16, one of half the size at
    stride 8.

    Lin et al., Feature Pyramid Networks, CVPR 2017, arXiv 1612.03144, equation 1; RoIAlign after He et al., Mask R-CNN, ICCV
    2017, arXiv 1703.06870.

    Args:
        strides: of the levels, finest first; of several levels with one stride the first is read.
        size: cells along each side of the output.
        half_pixel: see `vertebra.layers.roi.region_features`.
    """

    def __init__(self, strides: Sequence[int], size: int, half_pixel: bool) -> None:
        super().__init__()
        self.levels = [level for level, stride in enumerate(strides) if not level or stride != strides[level - 1]]
        self.strides = [strides[level] for level in self.levels]
        self.size, self.half_pixel = size, half_pixel

    def forward(self, maps: Sequence[Tensor], proposals: Tensor) -> Tensor:
        """(N * R, C, size, size) from levels (N, C, h, w) and regions (N, R, 4) xyxy in canvas pixels."""
        return self.listed(maps, list_areas(proposals))

    def listed(self, maps: Sequence[Tensor], listed: Tensor) -> Tensor:
        """(R, C, size, size) of listed regions (R, 5), see `vertebra.layers.roi.list_areas`."""
        numbers = self.level_of(listed[:, 1:])
        count = len(self.levels)
        if is_tracing(listed):  # shapes in a graph must not depend on values: each level is read for all regions
            features = self._read(maps, 0, listed)
            for number in range(1, count):
                features = torch.where(
                    (numbers == number)[:, None, None, None], self._read(maps, number, listed), features
                )
            return features
        if listed.device.type == "cpu" and not torch.is_grad_enabled():
            size = (self.size, self.size)
            region_maps = [maps[level] for level in self.levels]
            return summed_features(region_maps, self.strides, listed, numbers, size, half_pixel=self.half_pixel)
        rows = [(numbers == number).nonzero()[:, 0] for number in range(count)]
        parts = [self._read(maps, number, listed[level_rows]) for number, level_rows in enumerate(rows)]
        return torch.cat(parts)[torch.cat(rows).argsort()]

    def _read(self, maps: Sequence[Tensor], number: int, listed: Tensor) -> Tensor:
        size, level_map = (self.size, self.size), maps[self.levels[number]]
        return listed_features(level_map, self.strides[number], listed, size, half_pixel=self.half_pixel)

    def level_of(self, proposals: Tensor) -> Tensor:
        """The index in ``levels``, (...,) int64, of the level that each region (..., 4) is read on."""
        sides = (proposals[..., 2:] - proposals[..., :2]).clamp(min=0).prod(dim=-1).sqrt()
        step = torch.floor(torch.log2(sides / CANONICAL + 1e-12) + 1e-6).clamp(-8, 8)
        level_stride = CANONICAL_STRIDE * torch.exp2(step)
        strides = torch.tensor(self.strides, dtype=level_stride.dtype, device=level_stride.device)
        return (level_stride[..., None] > strides).sum(dim=-1).clamp(max=len(self.strides) - 1)
