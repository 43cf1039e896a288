"""Anchors: boxes of fixed size and shape, the reference boxes of an anchor-based detector."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor

from vertebra.geometry.points import Spacing, cell_points, cell_steps

SPREAD_OCTAVES = (-2 / 3, 0.0, 2 / 3)


def anchor_shapes(base: float, octaves: Sequence[float], aspect_ratios: Sequence[float]) -> list[tuple[float, float]]:
    """Widths and heights of the anchors of one cell.

    Args:
        base: side of the square anchor at octave 0, in pixels.
        octaves: logarithms (base 2) of the sizes relative to ``base``.
        aspect_ratios: height / width; the area stays the same.

    Returns:
        (width, height) in pixels: for each ratio, all octaves.
    """
    sides = [base * 2**octave for octave in octaves]
    return [(side / math.sqrt(ratio), side * math.sqrt(ratio)) for ratio in aspect_ratios for side in sides]


def octaves_for(strides: Sequence[int]) -> tuple[float, ...]:
    """The octaves of anchor sizes with which these levels cover common object sizes.

    Three levels or more take three sizes, two thirds of an octave apart, so the sizes of neighboring levels interleave:
    strides 8, 16, 32 with a scale of 4 give 20, 32, 40, 51, 64, 81, 102, 128 and 203 pixels. (RetinaNet's octaves, 0, 1/3,
    2/3, begin at 32 pixels, which is too large for small objects in the small images of many custom data sets.) With fewer
    levels, each covers more octaves.
    """
    span = math.log2(max(strides) / min(strides)) + 1
    if span >= 2.5:
        return SPREAD_OCTAVES
    if span >= 1.5:
        return (-1.0, -0.5, 0.0, 0.5, 1.0)
    return (-2.0, -1.0, 0.0, 1.0, 2.0)


def level_shapes(
    strides: Sequence[int], *, scale: float, octaves: Sequence[float], aspect_ratios: Sequence[float]
) -> list[list[tuple[float, float]]]:
    """(width, height) of the anchors of each level, by octaves of a size that grows with the stride.

    Args:
        strides: pixels per cell of each level.
        scale: side of the anchor at octave 0, in strides.
        octaves, aspect_ratios: see `anchor_shapes`.
    """
    return [anchor_shapes(scale * stride, octaves, aspect_ratios) for stride in strides]


def sized_shapes(sizes: Sequence[Sequence[float]], aspect_ratios: Sequence[float]) -> list[list[tuple[float, float]]]:
    """(width, height) of the anchors of each level from given sizes, as in torchvision: for each ratio all sizes, rounded to whole
    pixels on both sides of the center.

    Args:
        sizes: for each level, sides of square anchors in pixels.
    """
    levels = []
    for level_sizes in sizes:
        shapes = [(size / math.sqrt(ratio), size * math.sqrt(ratio)) for ratio in aspect_ratios for size in level_sizes]
        levels.append([(2.0 * round(width / 2), 2.0 * round(height / 2)) for width, height in shapes])
    return levels


def level_anchors(
    maps: Sequence[Float[Tensor, "n _ _ _"]],
    strides: Sequence[int],
    shapes: Sequence[Sequence[tuple[float, float]]],
    *,
    offset: float = 0.5,
    spacing: Spacing = "stride",
) -> Float[Tensor, "a 4"]:
    """The anchors of several maps: finest map first, row by row, the anchors of a cell adjacent.

    Args:
        maps: (N, channels, height, width) each; only their sizes are read.
        strides: pixels per cell of each.
        shapes: (width, height) of each level's anchors, see `level_shapes`.
        offset: position of an anchor's center in its cell; 0.5 is the middle.
        spacing: see `vertebra.geometry.points.cell_steps`.

    Returns:
        (A, 4) float32 xyxy in pixels; anchors may extend beyond the image.
    """
    anchors = []
    for feature, step, level in zip(maps, cell_steps(maps, strides, spacing), shapes, strict=True):
        height, width = feature.shape[-2:]
        sides = torch.tensor(level, dtype=torch.float32, device=feature.device)
        corners = torch.cat([-0.5 * sides, 0.5 * sides], dim=-1)
        points = cell_points(height, width, step, offset=offset, device=feature.device)
        anchors.append((points.repeat(1, 2)[:, None] + corners).reshape(-1, 4))
    return torch.cat(anchors)


def level_numbers(maps: Sequence[Float[Tensor, "n _ _ _"]], per_cell: int) -> Int[Tensor, " a"]:
    """The level of each anchor: (A,) int64, in the order of `level_anchors`."""
    return torch.cat(
        [
            torch.full((feature.shape[-2] * feature.shape[-1] * per_cell,), number, device=feature.device)
            for number, feature in enumerate(maps)
        ]
    )
