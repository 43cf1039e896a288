"""Which cells of a map show the image, and which only the canvas' padding."""

from __future__ import annotations

import torch
from torch import Tensor

from vertebra.features import Frame


def valid_cells(frame: Frame, maps: Tensor, stride: int) -> Tensor:
    """Cells that see at least one of their image's own pixels.

    Args:
        frame: its ``sizes`` (N, 2) tell the valid pixels of each image, at the canvas' top left.
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


def valid_mean(maps: Tensor, stride: int, frame: Frame) -> Tensor:
    """Mean of each channel over the cells that see the image, not over padding.

    Args:
        maps: (N, C, h, w).

    Returns:
        (N, C)
    """
    inside = valid_cells(frame, maps, stride).to(maps.dtype)[:, None]
    return (maps * inside).sum(dim=(2, 3)) / inside.sum(dim=(2, 3)).clamp(min=1)
