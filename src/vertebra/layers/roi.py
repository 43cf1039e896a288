"""Features of rectangles in the image, at a fixed number of cells."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torchvision.ops import roi_align

from vertebra.features import FeatureSpec
from vertebra.layers.init import start_conv
from vertebra.layers.resample import upsample_like

SAMPLES = 2  # points along each side of a cell that are averaged


def region_features(
    maps: Tensor, stride: int, areas: Tensor, size: tuple[int, int], *, half_pixel: bool = True
) -> Tensor:
    """What a map shows inside rectangles, each divided into the same number of cells.

    He et al., Mask R-CNN (RoIAlign), ICCV 2017, arXiv 1703.06870; with the half-pixel shift of its later version, so
    that cell centres are where the pixels are.

    Args:
        maps: (N, C, h, w).
        stride: pixels per cell of the map.
        areas: (N, R, 4) xyxy in canvas pixels; what lies outside the map counts as 0.
        size: (height, width) in cells of what comes out.
        half_pixel: whether cell centres are where the pixels are; torchvision's detectors read half a cell beside.

    Returns:
        (N * R, C, height, width) float32, image by image.
    """
    return listed_features(maps, stride, list_areas(areas), size, half_pixel=half_pixel)


def list_areas(areas: Tensor) -> Tensor:
    """Areas (N, R, 4) as one list (N * R, 5), each with the number of its image before it, float32."""
    batch, count = areas.shape[:2]
    images = torch.arange(batch, device=areas.device, dtype=torch.float32)[:, None, None].expand(batch, count, 1)
    return torch.cat([images, areas.float()], dim=-1).reshape(-1, 5)


def listed_features(
    maps: Tensor, stride: int, listed: Tensor, size: tuple[int, int], *, half_pixel: bool = True
) -> Tensor:
    """`region_features` of areas in any order, as `list_areas` gives them: (R, C, height, width) for (R, 5)."""
    found: Tensor = roi_align(maps.float(), listed, size, 1.0 / stride, SAMPLES, half_pixel)
    return found


class FusedLevels(nn.Module):
    """Several levels at one width, as their sum: over the whole canvas, or inside rectangles.

    Each level goes through a 1x1 convolution of its own. That all levels are added for every rectangle, whatever its
    size, is after Liu et al., Path Aggregation Network for Instance Segmentation, CVPR 2018, arXiv 1803.01534,
    section 3.2; it needs no choice between levels, and works on a backbone's raw maps too.

    Args:
        in_spec: the features that come in.
        indices: which levels are used, finest first.
        width: channels that come out.

    Raises:
        JointError: the strides of the levels are not multiples of each other.
    """

    def __init__(self, in_spec: FeatureSpec, indices: Sequence[int], width: int) -> None:
        super().__init__()
        self.indices = tuple(indices)
        self.strides = [in_spec.strides[index] for index in self.indices]
        self.ratios = [in_spec.ratio(index, self.indices[0]) for index in self.indices]
        self.projections = nn.ModuleList(nn.Conv2d(in_spec.channels[index], width, 1) for index in self.indices)
        for conv in self.projections:
            assert isinstance(conv, nn.Conv2d)
            start_conv(conv, rectified=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The whole canvas: (N, width, h, w) at the finest stride that is used."""
        total, *coarser = self._projected(maps)
        for level, ratio in zip(coarser, self.ratios[1:], strict=True):
            total = total + upsample_like(level, total, ratio, "bilinear")
        return total

    def inside(self, maps: Sequence[Tensor], areas: Tensor, size: tuple[int, int]) -> Tensor:
        """Rectangles: (N * R, width, *size) for areas (N, R, 4); see `region_features`."""
        total, *others = (
            region_features(level, stride, areas, size)
            for level, stride in zip(self._projected(maps), self.strides, strict=True)
        )
        for found in others:
            total = total + found
        return total

    def _projected(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [project(maps[index]) for index, project in zip(self.indices, self.projections, strict=True)]
