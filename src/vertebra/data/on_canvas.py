"""An image on the canvas with its annotations: what augmentation and batches work with."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor

from vertebra.preprocess.image_transform import ImageTransform, ResizeSpec


@dataclass(frozen=True, eq=False)
class OnCanvas:
    """An image on the canvas, with its annotations in canvas pixels.

    Attributes:
        image: (C, height, width) uint8.
        transform: the position of the image; of the first one if it is made of several.
        annotations: by branch, as the tasks' annotation types, masks of the canvas' size.
    """

    image: Tensor
    transform: ImageTransform
    annotations: dict[str, Any] = field(default_factory=dict)


def empty_canvas(resize_spec: ResizeSpec, channels: int) -> Tensor:
    """(C, height, width) uint8 of fill."""
    fill = torch.tensor(resize_spec.fill_for(channels), dtype=torch.uint8)[:, None, None]
    return fill.expand(-1, *resize_spec.size).clone()


def larger(first: ImageTransform, second: ImageTransform) -> ImageTransform:
    """The first image's position, with the valid pixels of both."""
    height, width = (max(sides) for sides in zip(first.size, second.size, strict=True))
    return replace(first, size=(height, width))
