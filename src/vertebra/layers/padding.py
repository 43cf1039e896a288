"""Masks of the cells of a map that cover the image, not only the canvas' padding."""

from __future__ import annotations

import torch
from torch import Tensor

from vertebra.features import Frame


def valid_cells(frame: Frame, maps: Tensor, stride: int) -> Tensor:
    """Cells that cover at least one pixel of their image.

    Args:
        frame: its ``sizes`` (N, 2) are the valid pixels of each image, at the canvas' top left.
        maps: (N, any, h, w), for its shape.
        stride: pixels in a cell of ``maps``.

    Returns:
        (N, h, w) bool.
    """
    rows = torch.arange(maps.shape[-2], device=maps.device) * stride
    columns = torch.arange(maps.shape[-1], device=maps.device) * stride
    inside_rows = rows < frame.sizes[:, 0, None]
    inside_columns = columns < frame.sizes[:, 1, None]
    return inside_rows[:, :, None] & inside_columns[:, None, :]


def nearest_valid_cells(frame: Frame, maps: Tensor, stride: int) -> Tensor:
    """Cells that cover the image, by resizing its mask from the canvas to the map with nearest neighbor.

    DETR and its successors were trained this way. On canvases that are not a multiple of the stride, a cell that begins just
    outside the image may count too; otherwise this equals `valid_cells`.

    Args, Returns: as `valid_cells`.
    """
    inside = []
    for axis, length in enumerate(frame.canvas):
        cells = torch.arange(maps.shape[axis - 2], device=maps.device)
        pixel = (cells.float() * (length / maps.shape[axis - 2])).long()
        inside.append((pixel < frame.sizes[:, axis, None]) & (cells * stride < length))
    return inside[0][:, :, None] & inside[1][:, None, :]


def valid_mean(maps: Tensor, stride: int, frame: Frame) -> Tensor:
    """Mean of each channel over the cells that cover the image, without padding.

    Args:
        maps: (N, C, h, w).

    Returns:
        (N, C)
    """
    inside = valid_cells(frame, maps, stride).to(maps.dtype)[:, None]
    return (maps * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)
