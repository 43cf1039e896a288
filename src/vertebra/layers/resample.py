"""Upsampling from coarse maps to finer ones, and to the canvas.

A map at stride s has ceil(H / s) cells, so twice the cells of stride 2s can be one more than those of stride s.
Resizing directly to the finer size would then stretch the map and shift every cell away from its pixels. Instead a map is
scaled by the integer ratio of the strides, which keeps each cell over its pixels, and the excess at the right and bottom is
cropped.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

Mode = Literal["nearest", "bilinear"]
Fit = Literal["stride", "size", "corners"]
"""How a coarse map is resized to a finer grid: "stride" scales it by the integer ratio of the strides, so each cell stays
over its pixels; "size" stretches it to the finer size for any ratio, as torchvision does; "corners" scales it by the ratio
with aligned centers of the corner cells (``align_corners``), as segmentation-models-pytorch does. The last two are for
weights that were trained this way."""


def ceil_divided(length: int, by: int) -> int:
    """A length divided, rounded up. The usual ``-(-length // by)`` would be wrong in an exported graph with dynamic ``length``:
    ONNX rounds a negative quotient towards zero, not down."""
    return (length + by - 1) // by


def upsample(maps: Tensor, ratio: int, mode: Mode = "bilinear") -> Tensor:
    """Maps (N, C, h, w) scaled to (N, C, h * ratio, w * ratio)."""
    if ratio == 1:
        return maps
    if mode == "nearest":
        return F.interpolate(maps, scale_factor=float(ratio), mode="nearest")
    return F.interpolate(maps, scale_factor=float(ratio), mode="bilinear", align_corners=False)


def crop(maps: Tensor, height: int, width: int) -> Tensor:
    """The top left (N, C, height, width) of maps (N, C, H, W) that are at least as large.

    Uses padding with negative numbers: a slice would check whether its end lies inside, which ``torch.export`` cannot prove
    for ceil(H / s) cells, so height and width would become static.

    Raises:
        ValueError: the maps are smaller (not checked inside a compiled or exported graph, where sizes are dynamic).
    """
    over_height, over_width = maps.shape[-2] - height, maps.shape[-1] - width
    if not torch.compiler.is_compiling():
        if min(over_height, over_width) < 0:
            raise ValueError(f"maps of {tuple(maps.shape[-2:])} cells do not cover ({height}, {width})")
        if over_height == over_width == 0:
            return maps  # padding with 0 would copy them
    return F.pad(maps, (0, -over_width, 0, -over_height))


def upsample_like(coarse: Tensor, fine: Tensor | tuple[int, int], ratio: int, mode: Mode = "nearest") -> Tensor:
    """A coarse map at the size of a finer one.

    Args:
        coarse: (N, C, h, w).
        fine: the finer map (N, any, H, W), or its size (H, W); H <= h * ratio and W <= w * ratio.
        ratio: stride of the coarse map divided by that of the fine one.

    Returns:
        (N, C, H, W)

    Raises:
        ValueError: the coarse map does not cover the finer one.
    """
    height, width = fine if isinstance(fine, tuple) else fine.shape[-2:]
    return crop(upsample(coarse, ratio, mode), height, width)


def fit_to(coarse: Tensor, size: tuple[int, int], ratio: int, fit: Fit = "stride") -> Tensor:
    """A coarse map over a finer grid, interpolated bilinearly; see `Fit`.

    Args:
        coarse: (N, C, h, w).
        size: (H, W) of the finer grid; H <= h * ratio and W <= w * ratio.
        ratio: stride of the coarse map divided by that of the finer grid.

    Returns:
        (N, C, H, W)
    """
    if fit == "stride":
        return upsample_like(coarse, size, ratio, "bilinear")
    if fit == "size":
        return F.interpolate(coarse, size=size, mode="bilinear", align_corners=False)
    if ratio > 1:
        coarse = F.interpolate(coarse, scale_factor=float(ratio), mode="bilinear", align_corners=True)
    return crop(coarse, *size)
