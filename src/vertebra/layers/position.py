"""Where a patch is, as numbers that attention can use."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sine_position(height: int, width: int, channels: int, like: Tensor, temperature: float = 10000.0) -> Tensor:
    """Two-dimensional sine and cosine encoding of a grid, made inside the graph for any size.

    The first half of the channels tells the row, the second the column; each half is sines, then cosines, of
    frequencies that fall from 1 towards 1 / temperature. Carion et al., End-to-End Object Detection with
    Transformers, ECCV 2020, arXiv 2005.12872 (there sines and cosines are interleaved and positions scaled to 2 pi).

    Args:
        channels: a multiple of 4.
        like: gives device and dtype.

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
