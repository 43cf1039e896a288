"""Regions of interest around boxes, and points relative to them."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vertebra.geometry.boxes import from_center_size, to_center_size

MIN_SIDE_PX = 1.0


def areas_around(boxes: Float[Tensor, "*b 4"], margin: float, aspect: float) -> Float[Tensor, "*b 4"]:
    """The smallest rectangles of one aspect ratio that contain boxes with a margin.

    Args:
        boxes: (..., 4) xyxy in pixels; empty ones (padding) get a rectangle of about a pixel.
        margin: each side of a box is multiplied by this first.
        aspect: width / height of the rectangles.

    Returns:
        (..., 4) float32 xyxy in pixels, with the boxes' centers; they may extend beyond the image.
    """
    coded = to_center_size(boxes.float())
    center, size = coded[..., :2], coded[..., 2:]
    width, height = (size * margin).clamp(min=MIN_SIDE_PX).unbind(dim=-1)
    width = torch.maximum(width, height * aspect)
    return from_center_size(torch.cat([center, width[..., None], width[..., None] / aspect], dim=-1))


def jitter_boxes(boxes: Float[Tensor, "*b 4"], amount: float) -> Float[Tensor, "*b 4"]:
    """Boxes shifted and resized at random, like a detector's errors.

    Args:
        boxes: (..., 4) xyxy.
        amount: maximum shift along each axis, and maximum change of each side, as a part of the side.

    Returns:
        (..., 4)
    """
    coded = to_center_size(boxes.float())
    center, size = coded[..., :2], coded[..., 2:]
    move, scale = (2 * torch.rand(2, *size.shape, device=boxes.device) - 1) * amount
    return from_center_size(torch.cat([center + move * size, size * (1 + scale)], dim=-1))


def to_unit(points: Float[Tensor, "*b k 2"], areas: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b k 2"]:
    """Points relative to rectangles: (0, 0) is the top-left corner, (1, 1) the bottom-right one.

    Args:
        points: (..., K, 2) x, y in pixels.
        areas: (..., 4) xyxy in pixels.

    Returns:
        (..., K, 2)
    """
    corner, size = areas[..., None, :2], areas[..., None, 2:] - areas[..., None, :2]
    return (points - corner) / size


def from_unit(points: Float[Tensor, "*b k 2"], areas: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b k 2"]:
    """The inverse of `to_unit`."""
    corner, size = areas[..., None, :2], areas[..., None, 2:] - areas[..., None, :2]
    return corner + points * size
