"""Deformable attention: samples maps at a few learned points."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

Method = Literal["bilinear", "discrete"]


class DeformableAttention(nn.Module):
    """Each head of a query samples some points of each level around the query's reference point, and weights them.

    Zhu et al., Deformable DETR: Deformable Transformers for End-to-End Object Detection, ICLR 2021, arXiv 2010.04159;
    "discrete" sampling as in Lv et al., RT-DETRv2, 2024, arXiv 2407.17140.

    Args:
        width: features of a query and of a cell.
        heads: must divide the width.
        levels: number of maps.
        points: points that each head samples on each level, one number for all levels or one each.
        method: interpolation between cells: "bilinear" (0 beyond the edges), or "discrete": the cell whose upper left corner is
            nearest, half a cell off from the bilinear one, as published.
        offset_scale: range of the points around a box, relative to the box.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        levels: int,
        points: int | list[int],
        *,
        method: Method = "bilinear",
        offset_scale: float = 0.5,
    ) -> None:
        super().__init__()
        self.heads, self.method, self.offset_scale = heads, method, offset_scale
        self.points = [points] * levels if isinstance(points, int) else list(points)
        total = sum(self.points)
        self.offsets = nn.Linear(width, heads * total * 2)
        self.weights = nn.Linear(width, heads * total)
        self.values = nn.Linear(width, width)
        self.out = nn.Linear(width, width)
        self._start()
        if method == "discrete":  # a rounded position has no gradient: such weights are first trained with "bilinear"
            self.offsets.requires_grad_(False)

    def _start(self) -> None:
        """Initializes the offsets: heads in different directions, points at increasing distances, equal weights."""
        for layer in (self.offsets, self.weights):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        for layer in (self.values, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        angles = torch.arange(self.heads) * (2 * math.pi / self.heads)
        directions = torch.stack([angles.cos(), angles.sin()], dim=-1)
        directions = directions / directions.abs().amax(dim=-1, keepdim=True)
        steps = torch.cat([torch.arange(1, count + 1) for count in self.points])
        with torch.no_grad():
            self.offsets.bias.copy_((directions[:, None] * steps[:, None]).flatten())

    def forward(
        self,
        queries: Tensor,
        reference: Tensor,
        values: Tensor,
        shapes: Sequence[tuple[int, int]],
        hidden: Tensor | None = None,
    ) -> Tensor:
        """Attends from the queries to the sampled points.

        Args:
            queries: (N, Q, width).
            reference: (N, Q, 1 or levels, 2 or 4) points, or center and size of boxes, relative to each level's map.
            values: (N, S, width) the cells of all levels, concatenated.
            shapes: (height, width) of each level.
            hidden: (N, S) bool, cells whose values are 0.

        Returns:
            (N, Q, width)
        """
        batch, count, width = queries.shape
        read = self.values(values)
        if hidden is not None:
            read = read.masked_fill(hidden[..., None], 0.0)
        read = read.reshape(batch, -1, self.heads, width // self.heads).permute(0, 2, 3, 1).flatten(0, 1)
        offsets = self.offsets(queries).reshape(batch, count, self.heads, -1, 2)
        weights = self.weights(queries).reshape(batch, count, self.heads, -1).softmax(dim=-1)
        sampled, first, cells = [], 0, 0
        for level, ((rows, columns), points) in enumerate(zip(shapes, self.points, strict=True)):
            center = reference[:, :, min(level, reference.shape[2] - 1), None, None]
            level_offsets = offsets[:, :, :, first : first + points]
            if reference.shape[-1] == 4:
                at = center[..., :2] + level_offsets * (self.offset_scale / points) * center[..., 2:]
            else:
                at = center + torch.stack([level_offsets[..., 0] / columns, level_offsets[..., 1] / rows], dim=-1)
            maps = read[:, :, cells : cells + rows * columns].unflatten(2, (rows, columns))
            sampled.append(self._read(maps, at.transpose(1, 2).flatten(0, 1)))
            first, cells = first + points, cells + rows * columns
        mixed = (torch.cat(sampled, dim=-1) * weights.transpose(1, 2).flatten(0, 1)[:, None]).sum(dim=-1)
        out: Tensor = self.out(mixed.reshape(batch, width, count).transpose(1, 2))
        return out

    def _read(self, maps: Tensor, at: Tensor) -> Tensor:
        """(B, C, Q, P) values of maps (B, C, h, w) at (B, Q, P, 2) x, y in 0..1."""
        if self.method == "bilinear":
            return F.grid_sample(maps, (2 * at - 1).to(maps.dtype), padding_mode="zeros", align_corners=False)
        height, width = maps.shape[-2:]
        x = (at[..., 0] * width + 0.5).long().clamp(0, width - 1)
        y = (at[..., 1] * height + 0.5).long().clamp(0, height - 1)
        index = (y * width + x).flatten(1)[:, None].expand(-1, maps.shape[1], -1)
        return maps.flatten(2).gather(2, index).reshape(*maps.shape[:2], *at.shape[1:3])
