"""Sine and cosine position encodings for attention."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, channels: int, like: Tensor, temperature: float = 10000.0) -> Tensor:
    """Two-dimensional sine and cosine encoding of a grid, computed inside the graph for any size.

    The first half of the channels encodes the row, the second the column; each half is sines, then cosines, of frequencies
    that fall from 1 towards 1 / temperature. Carion et al., End-to-End Object Detection with
    Transformers, ECCV 2020, arXiv 2005.12872 (there sines and cosines are interleaved and positions scaled to 2 pi, as in
    `scaled_sine_position`).

    Args:
        channels: a multiple of 4.
        like: a tensor with the device and dtype of the result.

    Returns:
        (height * width, channels), row by row.
    """
    quarter = channels // 4
    steps = torch.arange(quarter, device=like.device, dtype=torch.float32) / quarter
    frequencies = torch.exp(-steps * math.log(temperature))
    rows = torch.arange(height, device=like.device, dtype=torch.float32)[:, None] * frequencies
    columns = torch.arange(width, device=like.device, dtype=torch.float32)[:, None] * frequencies
    row_code = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(height, width, 2 * quarter)
    column_code = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, width, 2 * quarter)
    return torch.cat([row_code, column_code], dim=2).reshape(height * width, channels).to(like.dtype)


def scaled_sine_position(
    inside: Tensor, channels: int, like: Tensor, temperature: float = 10000.0, *, centered: bool = False
) -> Tensor:
    """Two-dimensional sine and cosine encoding of a cell's position in its image, from 0 to 2 pi for any image size.

    The first half of the channels encodes the row, the second the column; in each half, the sine and cosine of each frequency
    are adjacent. Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv
    2005.12872.

    Args:
        inside: (N, h, w) bool, the cells that cover the image, not only the canvas' padding.
        channels: a multiple of 4.
        like: a tensor with the dtype of the result.
        centered: encodes a cell's center instead of its far edge, so a position has the same code on maps of any stride (Zhu
            et al., Deformable DETR, ICLR 2021, arXiv 2010.04159).

    Returns:
        (N, h * w, channels), row by row.
    """
    half = channels // 2
    steps = torch.arange(half // 2, device=inside.device, dtype=torch.float32) * (2 / half)
    frequencies = torch.exp(-steps * math.log(temperature))
    codes = []
    for axis in (1, 2):
        count = inside.float().cumsum(axis)
        total = inside.float().sum(axis, keepdim=True)
        angle = ((count - 0.5 if centered else count) / (total + 1e-6) * (2 * math.pi))[..., None] * frequencies
        codes.append(torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2))
    return torch.cat(codes, dim=-1).flatten(1, 2).to(like.dtype)
