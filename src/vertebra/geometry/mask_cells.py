"""Masks in the cells of boxes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.ops import roi_align

from vertebra.geometry.rois import to_unit

SAMPLES = 2  # points along each side of a cell that are averaged
BORDER = 2  # cells of zeros around a mask, so that points beside it are 0


def shares_in_areas(
    masks: UInt8[Tensor, "n d c c"], boxes: Float[Tensor, "n d 4"], areas: Float[Tensor, "n d 4"], cells: int
) -> Float[Tensor, "n d s s"]:
    """The share of each cell of some areas that objects cover, from their masks over their own boxes.

    Args:
        masks: (N, D, C, C) uint8, shares of the cells of the boxes, 0 to 255.
        boxes: (N, D, 4) xyxy; empty ones are padding.
        areas: (N, D, 4) xyxy.
        cells: along each side of the areas.

    Returns:
        (N, D, cells, cells) float32 in 0..1.
    """
    size = masks.shape[-1]
    real = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(dim=-1, keepdim=True)
    unit_box = torch.tensor([0.0, 0.0, 1.0, 1.0], device=boxes.device)
    corners = torch.where(real, areas, unit_box).reshape(*areas.shape[:-1], 2, 2)
    inside = to_unit(corners, torch.where(real, boxes, unit_box)).flatten(2) * size + BORDER
    padded = F.pad(masks.flatten(0, 1)[:, None].float() / 255, (BORDER, BORDER, BORDER, BORDER))
    numbers = torch.arange(len(padded), device=boxes.device, dtype=torch.float32)[:, None]
    listed = torch.cat([numbers, inside.flatten(0, 1)], dim=1)
    shares: Tensor = roi_align(padded, listed, (cells, cells), 1.0, SAMPLES, aligned=True)
    return shares.reshape(*masks.shape[:2], cells, cells).clamp(0, 1)
