"""Going from coarse maps to finer ones, and to the canvas.

A map at stride s has ceil(H / s) cells, so twice the cells of stride 2s can be one more than those of stride s.
Resizing straight to the finer size would then stretch the map and move every cell off the pixels that it saw. Instead
a map is scaled by the whole ratio of the strides, which keeps each cell over its pixels, and what hangs over at the
right and bottom is cropped.
"""

from __future__ import annotations

from typing import Literal

import torch.nn.functional as F
from torch import Tensor

Mode = Literal["nearest", "bilinear"]


def upsample(maps: Tensor, ratio: int, mode: Mode = "bilinear") -> Tensor:
    """Maps (N, C, h, w) scaled to (N, C, h * ratio, w * ratio)."""
    if ratio == 1:
        return maps
    if mode == "nearest":
        return F.interpolate(maps, scale_factor=float(ratio), mode="nearest")
    return F.interpolate(maps, scale_factor=float(ratio), mode="bilinear", align_corners=False)


def upsample_like(coarse: Tensor, fine: Tensor, ratio: int, mode: Mode = "nearest") -> Tensor:
    """A coarse map at the size of a finer one.

    Args:
        coarse: (N, C, h, w).
        fine: (N, any, H, W) with H <= h * ratio and W <= w * ratio.
        ratio: stride of the coarse map divided by that of the fine one.

    Returns:
        (N, C, H, W)
    """
    return upsample(coarse, ratio, mode)[..., : fine.shape[-2], : fine.shape[-1]]


def upsample_to_canvas(logits: Tensor, stride: int, canvas: tuple[int, int]) -> Tensor:
    """Logits (N, K, h, w) of this stride at the canvas' own size (N, K, H, W), bilinearly."""
    return upsample(logits, stride)[..., : canvas[0], : canvas[1]]
