"""Default boxes: the anchors of SSD, with sizes relative to the canvas."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

FINEST_SCALE, SECOND_SCALE, COARSEST_SCALE, BEYOND = 0.07, 0.15, 0.87, 1.05


def default_scales(levels: int) -> tuple[float, ...]:
    """The sizes of default boxes relative to the canvas, one more than the number of levels.

    Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325, equation 4, with the values for COCO of the
    authors' code: 0.07 on the finest level, then evenly from 0.15 to 0.87, and 1.05 beyond the coarsest. Fewer than five levels
    would have gaps; their sizes grow by a constant factor, from 0.07 to 0.87.
    """
    if levels == 1:
        return (0.25, 1.0)
    if levels < 5:
        factor = (COARSEST_SCALE / FINEST_SCALE) ** (1 / (levels - 1))
        return (*(FINEST_SCALE * factor**number for number in range(levels)), BEYOND)
    step = (COARSEST_SCALE - SECOND_SCALE) / (levels - 2)
    return (FINEST_SCALE, *(SECOND_SCALE + step * number for number in range(levels - 1)), BEYOND)


def default_ratios(levels: int) -> list[list[float]]:
    """The aspect ratios of each level as in the paper: 2, and also 3 except on the finest and the last two levels."""
    return [[2.0, 3.0] if 0 < number < levels - 2 else [2.0] for number in range(levels)]


def default_shapes(scales: Sequence[float], ratios: Sequence[Sequence[float]]) -> list[list[tuple[float, float]]]:
    """(width, height) of the default boxes of each level relative to the canvas, at most 1.

    A level with scale s, followed by scale t, has squares with sides s and sqrt(s t), and for each ratio r a wide box of
    s sqrt(r) by s / sqrt(r) and the tall box with the sides exchanged.

    Args:
        scales: one more than the number of levels.
        ratios: aspect ratios of each level.
    """
    levels = []
    for scale, next_scale, level_ratios in zip(scales, scales[1:], ratios, strict=False):
        shapes = [(scale, scale), (math.sqrt(scale * next_scale),) * 2]
        for ratio in level_ratios:
            longer, shorter = scale * math.sqrt(ratio), scale / math.sqrt(ratio)
            shapes += [(longer, shorter), (shorter, longer)]
        levels.append([(min(width, 1.0), min(height, 1.0)) for width, height in shapes])
    return levels


def default_boxes(
    maps: Sequence[Float[Tensor, "n _ _ _"]],
    strides: Sequence[int],
    shapes: Sequence[Sequence[tuple[float, float]]],
    canvas: tuple[int, int],
    *,
    even: bool = False,
) -> Float[Tensor, "a 4"]:
    """The default boxes of several maps: finest map first, row by row, the boxes of a cell adjacent.

    Args:
        maps: (N, channels, height, width) each; only their sizes are read.
        strides: pixels per cell of each.
        shapes: see `default_shapes`.
        canvas: (height, width) in pixels.
        even: whether the cells divide the canvas evenly, as in torchvision's SSDLite, instead of following the strides; the two
            differ on maps that extend beyond the canvas.

    Returns:
        (A, 4) float32 xyxy in pixels; boxes may extend beyond the canvas.
    """
    boxes = []
    device = maps[0].device
    whole = torch.tensor([1.0, 1.0], device=device) * torch.stack(
        [torch.full((), float(side), device=device) for side in (canvas[1], canvas[0])]
    )
    for feature, stride, level_shapes in zip(maps, strides, shapes, strict=True):
        height, width = feature.shape[-2:]
        across, down = (canvas[1] / width, canvas[0] / height) if even else (float(stride), float(stride))
        x = (torch.arange(width, device=device, dtype=torch.float32) + 0.5) * across
        y = (torch.arange(height, device=device, dtype=torch.float32) + 0.5) * down
        points = torch.stack([x[None, :].expand(height, width), y[:, None].expand(height, width)], dim=-1)
        half = torch.tensor(level_shapes, device=device) * whole / 2
        corners = torch.cat([-half, half], dim=-1)
        boxes.append((points.reshape(-1, 2).repeat(1, 2)[:, None] + corners).reshape(-1, 4))
    return torch.cat(boxes)
