"""Small batches of synthetic images on which two versions of a model are compared."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.model import VisionModel
from vertebra.optimize.foreign_modules import is_altered, is_foreign

OCTAVES = (2, 4, 8, 16, 32)  # cells per side of the noise maps that are summed to a natural image
MAX_PIXELS = 256 * 256  # of each canvas in a batch of eight
EDGES = 3  # rectangles in a natural image


class ProbeBatch(NamedTuple):
    """The inputs of a model.

    Attributes:
        images: (N, C, H, W) uint8 canvases.
        sizes: (N, 2) int64, (height, width) of each one's valid pixels.
    """

    images: Tensor
    sizes: Tensor


def probe_batches(model: VisionModel, device: torch.device) -> list[ProbeBatch]:
    """Batches of two images and of one, random and natural, on two canvases, one of them with odd sides; or on the one canvas that
    the backbone accepts. For a model with foreign code, which may depend on the number of images, both batch sizes on both
    canvases, and a batch of eight unless the canvas is large.

    Args:
        model: its backbone's strides and channels determine the canvases.
        device: of the batches.
    """
    backbone: Any = model.backbone
    side = max(64, 2 * max((level.stride for level in backbone.out_spec.levels), default=32))
    first = second = (side, side)
    if backbone.fixed_size:
        first = second = backbone.fixed_size
    else:
        second = (side + 9, side + 5)
    plans = [
        (first, ["random", "natural"]),
        (second, ["natural"]),
        (first, ["random"]),
        (second, ["natural", "random"]),
    ]
    if first == second:
        plans = plans[:2]
    if any(is_foreign(module) or is_altered(module) for module in model.modules()):
        if first[0] * first[1] <= MAX_PIXELS:
            plans.append((first, 4 * ["random", "natural"]))
    else:
        plans = plans[:2]
    draw = torch.Generator().manual_seed(0)
    return [_batch(canvas, kinds, backbone.in_channels, draw, device) for canvas, kinds in plans]


def canvas_batches(model: VisionModel, device: torch.device) -> list[ProbeBatch]:
    """Batches of two images and of one on the model's own canvas, for a model that refuses smaller ones."""
    draw = torch.Generator().manual_seed(0)
    channels: Any = model.backbone.in_channels
    canvas = model.resize_spec.size
    return [_batch(canvas, kinds, channels, draw, device) for kinds in (["random", "natural"], ["natural"])]


def _batch(
    canvas: tuple[int, int], kinds: list[str], channels: int, draw: torch.Generator, device: torch.device
) -> ProbeBatch:
    images = [
        natural_image(canvas, channels, draw)
        if kind == "natural"
        else torch.randint(0, 256, (channels, *canvas), dtype=torch.uint8, generator=draw)
        for kind in kinds
    ]
    sizes = torch.tensor([canvas] * len(images))
    sizes[1:] -= sizes[1:] // 4  # like an image that fills a part of its canvas
    return ProbeBatch(torch.stack(images).to(device), sizes.to(device))


def natural_image(size: tuple[int, int], channels: int, draw: torch.Generator) -> Tensor:
    """An image with the statistics of photographs: smooth noise whose amplitude decreases with frequency (Field, Relations between
    the statistics of natural images and the response properties of cortical cells, JOSA A 1987), channels that resemble each
    other, and a few edges.

    Args:
        size: (height, width).
        channels: of the image.
        draw: the random number generator.

    Returns:
        (channels, height, width) uint8.
    """
    image = torch.zeros(channels, *size)
    for cells in OCTAVES:
        gray = torch.randn(1, 1, cells, cells, generator=draw)
        color = torch.randn(1, channels, cells, cells, generator=draw)
        image += F.interpolate(gray + 0.3 * color, size=size, mode="bilinear", align_corners=False)[0] / cells
    for _ in range(EDGES):
        top, left = (int(torch.randint(0, side - 1, (), generator=draw)) for side in size)
        image[:, top : top + size[0] // 3, left : left + size[1] // 3] += (
            torch.randn(channels, 1, 1, generator=draw) / 2
        )
    return (127.5 + 90 * image).clamp(0, 255).round().to(torch.uint8)
