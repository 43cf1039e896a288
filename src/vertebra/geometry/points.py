"""The point in the image that each cell of a feature map stands for."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def cell_points(height: int, width: int, stride: int, *, offset: float = 0.5, device: torch.device) -> Tensor:
    """One point for each cell of a map, row by row.

    Args:
        height, width: cells of the map.
        stride: pixels per cell.
        offset: where in its cell the point lies: 0.5 is the middle, 0 the top-left corner.

    Returns:
        (height * width, 2) float32 x, y in pixels.
    """
    x = (torch.arange(width, device=device, dtype=torch.float32) + offset) * stride
    y = (torch.arange(height, device=device, dtype=torch.float32) + offset) * stride
    return torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1).reshape(-1, 2)


def level_points(maps: Sequence[Tensor], strides: Sequence[int], *, offset: float = 0.5) -> tuple[Tensor, Tensor]:
    """A point in each cell of several maps, finest map first.

    Args:
        maps: (N, channels, height, width) each; only their shapes are read.
        strides: pixels per cell of each.
        offset: see `cell_points`.

    Returns:
        (A, 2) float32 x, y in pixels, and (A,) int64 the level of each point.
    """
    points, levels = [], []
    for level, (feature, stride) in enumerate(zip(maps, strides, strict=True)):
        found = cell_points(feature.shape[-2], feature.shape[-1], stride, offset=offset, device=feature.device)
        points.append(found)
        levels.append(torch.full_like(found[:, 0], level, dtype=torch.int64))
    return torch.cat(points), torch.cat(levels)
