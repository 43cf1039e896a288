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


def upsample_like(coarse: Tensor, fine: Tensor | tuple[int, int], ratio: int, mode: Mode = "nearest") -> Tensor:
    """A coarse map at the size of a finer one.

    Args:
        coarse: (N, C, h, w).
        fine: the finer map (N, any, H, W), or its size (H, W); H <= h * ratio and W <= w * ratio.
        ratio: stride of the coarse map divided by that of the fine one.

    Returns:
        (N, C, H, W)
    """
    height, width = fine if isinstance(fine, tuple) else fine.shape[-2:]
    return upsample(coarse, ratio, mode)[..., :height, :width]


def upsample_to_canvas(logits: Tensor, stride: int, canvas: tuple[int, int]) -> Tensor:
    """Logits at the canvas' own size.

    Scaled by the stride, each cell lies over the pixels that it saw; what hangs over is padding and is cropped.

    Args:
        logits: (N, K, h, w).
        stride: pixels in a cell.
        canvas: (H, W) in pixels, with H <= h * stride and W <= w * stride.

    Returns:
        (N, K, H, W), interpolated bilinearly between the cells' centres.
    """
    return upsample_like(logits, canvas, stride, "bilinear")
