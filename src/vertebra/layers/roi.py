"""RoIAlign: features of rectangles in the image, at a fixed number of cells."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align

from vertebra.features import FeatureSpec
from vertebra.layers.init import init_conv_
from vertebra.layers.resample import upsample_like
from vertebra.layers.tracing import is_tracing

SAMPLES = 2  # points along each side of a cell that are averaged


def region_features(
    maps: Tensor, stride: int, areas: Tensor, size: tuple[int, int], *, half_pixel: bool = True
) -> Tensor:
    """The features of a map inside rectangles, each divided into the same number of cells.

    He et al., Mask R-CNN (RoIAlign), ICCV 2017, arXiv 1703.06870; with the half-pixel shift of its later version,
    which aligns cell centers with pixels.

    Args:
        maps: (N, C, h, w).
        stride: pixels per cell of the map.
        areas: (N, R, 4) xyxy in canvas pixels; values outside the map count as 0.
        size: (height, width) of the result in cells.
        half_pixel: whether cell centers are aligned with pixels; torchvision's detectors are half a cell off.

    Returns:
        (N * R, C, height, width) float32, image by image.
    """
    return listed_features(maps, stride, list_areas(areas), size, half_pixel=half_pixel)


def list_areas(areas: Tensor) -> Tensor:
    """Areas (N, R, 4) as one list (N * R, 5), each preceded by the index of its image, float32."""
    batch, count = areas.shape[:2]
    if batch == 1 and not is_tracing(areas):
        return F.pad(areas[0].float(), (1, 0))
    images = torch.arange(batch, device=areas.device, dtype=torch.float32)[:, None, None].expand(batch, count, 1)
    return torch.cat([images, areas.float()], dim=-1).reshape(-1, 5)


def listed_features(
    maps: Tensor, stride: int, listed: Tensor, size: tuple[int, int], *, half_pixel: bool = True
) -> Tensor:
    """`region_features` of listed areas in any order, see `list_areas`: (R, C, height, width) for (R, 5)."""
    features: Tensor = roi_align(maps.float(), listed, size, 1.0 / stride, SAMPLES, half_pixel)
    return features


def sampled_features(maps: Tensor, stride: int, areas: Tensor, cells: int) -> Tensor:
    """The features of a map interpolated at one point a cell, the center, of rectangles that are divided into equal cells.

    Many times as fast as `region_features` where there are many cells. A point outside the map has the value at the map's edge.

    Args:
        maps: (N, C, h, w).
        stride: pixels per cell of the map.
        areas: (N, R, 4) xyxy in canvas pixels.
        cells: along each side of a rectangle.

    Returns:
        (N * R, C, cells, cells) float32, image by image.
    """
    batch, count = areas.shape[:2]
    shares = (torch.arange(cells, device=areas.device) + 0.5) / cells
    corner, size = areas.float()[..., None, :2], (areas[..., 2:] - areas[..., :2]).float()[..., None, :]
    x, y = ((corner + shares[:, None] * size) * (2 / stride)).unbind(dim=-1)  # (N, R, cells), in half cells of the map
    x, y = x / maps.shape[-1] - 1, y / maps.shape[-2] - 1
    shape = (batch, count, cells, cells)
    points = torch.stack([x[:, :, None].expand(shape), y[..., None].expand(shape)], dim=-1).flatten(1, 2)
    features = F.grid_sample(maps.float(), points, padding_mode="border", align_corners=False)
    return features.reshape(batch, maps.shape[1], count, cells, cells).transpose(1, 2).flatten(0, 1)


def summed_features(
    maps: Sequence[Tensor],
    strides: Sequence[int],
    listed: Tensor,
    numbers: Tensor,
    size: tuple[int, int],
    *,
    half_pixel: bool = True,
) -> Tensor:
    """`listed_features` of areas with a level each, as weighted sums over the cells of all levels in one list.

    The result equals that of torchvision's kernel, but runs on all CPU cores with channels-last cells, while the kernel runs on
    one core and copies the maps. It has no gradients.

    Args:
        maps: levels (N, C, h, w).
        strides: pixels per cell of each.
        listed: (R, 5), see `list_areas`.
        numbers: (R,) int64, the level of each area.
        size, half_pixel: see `region_features`.

    Returns:
        (R, C, height, width) float32.
    """
    channels = maps[0].shape[1]
    cells = torch.cat([level.float().permute(0, 2, 3, 1).reshape(-1, channels) for level in maps])
    shapes = [(level.shape[-2], level.shape[-1], len(level)) for level in maps]
    starts = [0, *itertools.accumulate(height * width * count for height, width, count in shapes)]
    table = torch.tensor([[shape[0], shape[1], start] for shape, start in zip(shapes, starts, strict=False)])
    height, width, start = table[numbers].unbind(dim=1)
    corners = listed[:, 1:] / torch.tensor(strides, dtype=torch.float32)[numbers, None] - (0.5 if half_pixel else 0.0)
    min_length = None if half_pixel else 1.0
    rows, down = _corners(corners[:, 1], corners[:, 3], size[0], height, min_length)
    columns, across = _corners(corners[:, 0], corners[:, 2], size[1], width, min_length)
    first = start + listed[:, 0].long() * height * width
    rows = first[:, None, None] + rows * width[:, None, None]
    index = rows[:, :, None, :, None] + columns[:, None, :, None, :]
    weight = down[:, :, None, :, None] * across[:, None, :, None, :]
    count = (2 * SAMPLES) ** 2
    summed = F.embedding_bag(index.reshape(-1, count), cells, mode="sum", per_sample_weights=weight.reshape(-1, count))
    return summed.reshape(len(listed), *size, channels).permute(0, 3, 1, 2)


def _corners(low: Tensor, high: Tensor, count: int, cells: Tensor, min_length: float | None) -> tuple[Tensor, Tensor]:
    """Along one axis of areas: the cells that are sampled, and their weights.

    Args:
        low, high: (R,) the ends of the areas, in cells of their map.
        count: number of parts of an area.
        cells: (R,) int64, cells of the map.
        min_length: minimum length of an area.

    Returns:
        (R, count, 2 * SAMPLES) int64 and float32: for each point of a part, the cells before and after it.
    """
    length = high - low if min_length is None else (high - low).clamp(min=min_length)
    part_length = (length / count)[:, None, None]
    parts, samples = torch.arange(count)[:, None] * part_length, (torch.arange(SAMPLES) + 0.5) * part_length / SAMPLES
    points = (low[:, None, None] + parts + samples).flatten(1)
    size = cells[:, None]
    inside = (points >= -1) & (points <= size)
    points = torch.minimum(points.clamp(min=0), (size - 1).float())
    before = points.floor()
    share = points - before
    cell = before.long()
    index = torch.stack([cell, torch.minimum(cell + 1, size - 1)], dim=-1)
    weight = torch.stack([1 - share, share], dim=-1) * (inside / SAMPLES)[..., None]
    return index.reshape(-1, count, 2 * SAMPLES), weight.reshape(-1, count, 2 * SAMPLES)


class FusedLevels(nn.Module):
    """The sum of several levels at one width: over the whole canvas, or inside rectangles.

    Each level has its own 1x1 convolution. All levels are added for every rectangle of any size, as in Liu et al., Path
    Aggregation Network for Instance Segmentation, CVPR 2018, arXiv 1803.01534, section 3.2; this needs no assignment of levels,
    and also works on a backbone's raw maps.

    Args:
        in_spec: the input features.
        indices: the levels that are used, finest first.
        width: output channels.

    Raises:
        IncompatiblePartsError: the strides of the levels are not multiples of each other.
    """

    def __init__(self, in_spec: FeatureSpec, indices: Sequence[int], width: int) -> None:
        super().__init__()
        self.indices = tuple(indices)
        self.strides = [in_spec.strides[index] for index in self.indices]
        self.ratios = [in_spec.ratio(index, self.indices[0]) for index in self.indices]
        self.projections = nn.ModuleList(nn.Conv2d(in_spec.channels[index], width, 1) for index in self.indices)
        for conv in self.projections:
            assert isinstance(conv, nn.Conv2d)
            init_conv_(conv, rectified=False)

    def forward(self, maps: Sequence[Tensor]) -> Tensor:
        """The whole canvas: (N, width, h, w) at the finest stride that is used."""
        total, *coarser = self._projected(maps)
        for level, ratio in zip(coarser, self.ratios[1:], strict=True):
            total = total + upsample_like(level, total, ratio, "bilinear")
        return total

    def inside(self, maps: Sequence[Tensor], areas: Tensor, size: tuple[int, int]) -> Tensor:
        """Rectangles: (N * R, width, *size) for areas (N, R, 4); see `region_features`."""
        total, *rest = (
            region_features(level, stride, areas, size)
            for level, stride in zip(self._projected(maps), self.strides, strict=True)
        )
        for features in rest:
            total = total + features
        return total

    def _projected(self, maps: Sequence[Tensor]) -> list[Tensor]:
        return [project(maps[index]) for index, project in zip(self.indices, self.projections, strict=True)]
