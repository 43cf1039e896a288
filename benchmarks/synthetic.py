"""Made-up images and truths, the same in each process."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

OBJECTS = 12  # in each image


def canvases(count: int, size: tuple[int, int]) -> Tensor:
    """(count, 3, height, width) uint8: smooth colors that differ from place to place, so that scores do not tie."""
    draw = torch.Generator().manual_seed(1)
    coarse = torch.rand(count, 3, max(2, size[0] // 16), max(2, size[1] // 16), generator=draw)
    return (F.interpolate(coarse, size=size, mode="bicubic").clamp(0, 1) * 255).to(torch.uint8)


def ground_truth(task: str, count: int, size: tuple[int, int], classes: int) -> Any:
    """What is true of each image.

    Args:
        task: "classify", "segment" or "detect".
        count: images.
        size: (height, width) of them.
        classes: how many there are.

    Returns:
        Labels (count,); masks (count, height, width); or boxes (count, 12, 4) xyxy and labels (count, 12). The boxes are those of
        the first image in each: a mean over images and a mean over objects are the same then.
    """
    draw = torch.Generator().manual_seed(2)
    if task == "classify":
        return torch.randint(0, classes, (count,), generator=draw)
    if task == "segment":
        coarse = torch.randint(0, classes, (count, 1, size[0] // 16, size[1] // 16), generator=draw)
        return F.interpolate(coarse.float(), size=size).long()[:, 0]
    height, width = size
    corner = torch.rand(1, OBJECTS, 2, generator=draw) * torch.tensor([0.5 * width, 0.5 * height])
    sides = (0.1 + 0.35 * torch.rand(1, OBJECTS, 2, generator=draw)) * torch.tensor([width, height])
    labels = torch.randint(0, classes, (1, OBJECTS), generator=draw)
    return torch.cat([corner, corner + sides], dim=-1).repeat(count, 1, 1), labels.repeat(count, 1)
