"""Boxes as tensors: absolute pixels, xyxy, origin at the image's top-left corner."""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor


def box_area(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b"]:
    """Area of each box in square pixels; 0 for inverted boxes.

    Args:
        boxes: (..., 4) xyxy.

    Returns:
        (...) areas.
    """
    return (boxes[..., 2] - boxes[..., 0]).clamp(min=0) * (boxes[..., 3] - boxes[..., 1]).clamp(min=0)


def pairwise_intersection(first: Float[Tensor, "*#n a 4"], second: Float[Tensor, "*#n b 4"]) -> Float[Tensor, "*n a b"]:
    """Area of the intersection of each box of one set with each box of another.

    Args:
        first: (..., A, 4) xyxy.
        second: (..., B, 4) xyxy; leading dimensions broadcast.

    Returns:
        (..., A, B) areas in square pixels.
    """
    left, top, right, bottom = (first[..., :, None, side] for side in range(4))
    width = torch.minimum(right, second[..., None, :, 2]) - torch.maximum(left, second[..., None, :, 0])
    height = torch.minimum(bottom, second[..., None, :, 3]) - torch.maximum(top, second[..., None, :, 1])
    return width.clamp(min=0) * height.clamp(min=0)


def pairwise_iou(first: Float[Tensor, "*#n a 4"], second: Float[Tensor, "*#n b 4"]) -> Float[Tensor, "*n a b"]:
    """Intersection over union of each box of one set with each box of another; 0 where both are empty.

    Args:
        first: (..., A, 4) xyxy.
        second: (..., B, 4) xyxy; leading dimensions broadcast.

    Returns:
        (..., A, B) in 0..1.
    """
    shared = pairwise_intersection(first, second)
    union = box_area(first)[..., :, None] + box_area(second)[..., None, :] - shared
    return torch.where(union > 0, shared / union.clamp(min=torch.finfo(union.dtype).tiny), 0)


def clip_boxes(boxes: Float[Tensor, "n k 4"], sizes: Num[Tensor, "n 2"]) -> Float[Tensor, "n k 4"]:
    """Boxes clipped to their image.

    Args:
        boxes: (N, K, 4) xyxy.
        sizes: (N, 2) (height, width) of each image in pixels.

    Returns:
        (N, K, 4); a box outside the image becomes empty.
    """
    bounds = sizes.flip(-1).repeat(1, 2).to(boxes.dtype)
    return torch.minimum(boxes.clamp(min=0), bounds[:, None])


def to_center_size(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """From xyxy to center and size.

    Args:
        boxes: (..., 4) xyxy.

    Returns:
        (..., 4) center x, center y, width, height.
    """
    size = boxes[..., 2:] - boxes[..., :2]
    return torch.cat([boxes[..., :2] + 0.5 * size, size], dim=-1)


def from_center_size(boxes: Float[Tensor, "*b 4"]) -> Float[Tensor, "*b 4"]:
    """From center and size to xyxy.

    Args:
        boxes: (..., 4) center x, center y, width, height.

    Returns:
        (..., 4) xyxy.
    """
    half = 0.5 * boxes[..., 2:]
    return torch.cat([boxes[..., :2] - half, boxes[..., :2] + half], dim=-1)
