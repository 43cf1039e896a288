"""The point in the image of each cell of a feature map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

Spacing = Literal["stride", "canvas"]


def cell_steps(
    maps: Sequence[Float[Tensor, "n _ _ _"]], strides: Sequence[int], spacing: Spacing
) -> list[tuple[int, int]]:
    """The distance between the points of neighboring cells, on each map.

    Args:
        maps: (N, channels, height, width) each, finest first; only their sizes are read.
        strides: pixels per cell of each.
        spacing: "stride"; or "canvas", as in torchvision: the canvas that the finest map covers divided by the map's cells,
            rounded down, which is less than the stride on a map whose last cells extend beyond the canvas.

    Returns:
        (down, across) in pixels for each map.
    """
    if spacing == "stride":
        return [(stride, stride) for stride in strides]
    height, width = (side * strides[0] for side in maps[0].shape[-2:])
    return [(height // feature.shape[-2], width // feature.shape[-1]) for feature in maps]


def cell_points(
    height: int, width: int, stride: int | tuple[int, int], *, offset: float = 0.5, device: torch.device
) -> Float[Tensor, "{height*width} 2"]:
    """One point for each cell of a map, row by row.

    Args:
        height, width: cells of the map.
        stride: pixels per cell, or (down, across) where they differ.
        offset: position of the point in its cell: 0.5 is the middle, 0 the top-left corner.

    Returns:
        (height * width, 2) float32 x, y in pixels.
    """
    down, across = stride if isinstance(stride, tuple) else (stride, stride)
    x = (torch.arange(width, device=device, dtype=torch.float32) + offset) * across
    y = (torch.arange(height, device=device, dtype=torch.float32) + offset) * down
    return torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1).reshape(-1, 2)


def level_points(
    maps: Sequence[Float[Tensor, "n _ _ _"]],
    strides: Sequence[int],
    *,
    offset: float = 0.5,
    spacing: Spacing = "stride",
) -> tuple[Float[Tensor, "a 2"], Int[Tensor, " a"]]:
    """A point in each cell of several maps, finest map first.

    Args:
        maps: (N, channels, height, width) each; only their shapes are read.
        strides: pixels per cell of each.
        offset: see `cell_points`.
        spacing: see `cell_steps`.

    Returns:
        (A, 2) float32 x, y in pixels, and (A,) int64 the level of each point.
    """
    points, levels = [], []
    for level, (feature, step) in enumerate(zip(maps, cell_steps(maps, strides, spacing), strict=True)):
        level_points = cell_points(feature.shape[-2], feature.shape[-1], step, offset=offset, device=feature.device)
        points.append(level_points)
        levels.append(torch.full_like(level_points[:, 0], level, dtype=torch.int64))
    return torch.cat(points), torch.cat(levels)
