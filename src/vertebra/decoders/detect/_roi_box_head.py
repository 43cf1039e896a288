"""The second stage of a two-stage detector: class and refined box of each region."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from vertebra.errors import ConfigError
from vertebra.layers.conv import ConvNormAct
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
        numbers = self.level_of(proposals).flatten()
        listed = list_areas(proposals)
        count = len(self.levels)
        if is_tracing(proposals):  # shapes in a graph must not depend on values: each level is read for all regions
            features = self._read(maps, 0, listed)
            for number in range(1, count):
                features = torch.where(
                    (numbers == number)[:, None, None, None], self._read(maps, number, listed), features
                )
            return features
        if proposals.device.type == "cpu" and not torch.is_grad_enabled():
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
        """(N, R) int64, the index in ``levels`` of the level that each region is read on."""
        sides = (proposals[..., 2:] - proposals[..., :2]).clamp(min=0).prod(dim=-1).sqrt()
        step = torch.floor(torch.log2(sides / CANONICAL + 1e-12) + 1e-6).clamp(-8, 8)
        level_stride = CANONICAL_STRIDE * torch.exp2(step)
        strides = torch.tensor(self.strides, dtype=level_stride.dtype, device=level_stride.device)
        return (level_stride[..., None] > strides).sum(dim=-1).clamp(max=len(self.strides) - 1)


class BoxHead(nn.Module):
    """Class and box of regions: optional convolutions, then fully connected layers.

    Args:
        channels: of the levels.
        size: cells along each side of a region.
        convs: 3x3 convolutions first, with BatchNorm; the v2 model has 4.
        hidden: widths of the fully connected layers.
        classes: number of classes without the background, which comes last.
    """

    def __init__(
        self, channels: int, size: int, convs: int, hidden: Sequence[int], classes: int, norm: Literal["batch", "group"]
    ) -> None:
        super().__init__()
        if not hidden or min(hidden) < 1:
            raise ConfigError(f"'hidden' must name at least one width of 1 or more, got {list(hidden)}")
        self.convs = nn.Sequential(*(ConvNormAct(channels, channels, norm=norm) for _ in range(convs)))
        layers: list[nn.Module] = []
        width = channels * size * size
        for layer_width in hidden:
            layers += [nn.Linear(width, layer_width), nn.ReLU(inplace=True)]
            width = layer_width
        self.layers = nn.Sequential(*layers)
        self.classifier = nn.Linear(width, classes + 1)
        self.boxes = nn.Linear(width, classes * 4)
        nn.init.normal_(self.classifier.weight, std=0.01)
        nn.init.normal_(self.boxes.weight, std=0.001)
        for layer in (self.classifier, self.boxes):
            nn.init.zeros_(layer.bias)

    def forward(self, regions: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (R, classes + 1) and coded boxes (R, classes, 4) of regions (R, channels, size, size)."""
        features = self.layers(self.convs(regions).flatten(1))
        return self.classifier(features), self.boxes(features).reshape(regions.shape[0], -1, 4)
