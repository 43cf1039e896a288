"""Generalized IoU, which also measures boxes that do not overlap."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from vertebra.geometry.boxes import box_area, pairwise_intersection


def pairwise_giou(first: Float[Tensor, "*#n a 4"], second: Float[Tensor, "*#n b 4"]) -> Float[Tensor, "*n a b"]:
    """Generalized IoU of each box of one set with each box of another.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv 1902.09630.

    Args:
        first: (..., A, 4) xyxy.
        second: (..., B, 4) xyxy; leading dimensions broadcast.

    Returns:
        (..., A, B) in -1..1; 1 for equal boxes, below 0 for boxes that are far apart.
    """
    shared = pairwise_intersection(first, second)
    union = box_area(first)[..., :, None] + box_area(second)[..., None, :] - shared
    low = torch.minimum(first[..., :, None, :2], second[..., None, :, :2])
    high = torch.maximum(first[..., :, None, 2:], second[..., None, :, 2:])
    hull = (high - low).clamp(min=0).prod(dim=-1)
    tiny = torch.finfo(union.dtype).tiny
    return shared / union.clamp(min=tiny) - (hull - union) / hull.clamp(min=tiny)


def paired_iou(first: Float[Tensor, "*#b 4"], second: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b"]:
    """IoU of boxes at the same index of two sets; 0 where both are empty.

    Args:
        first, second: (..., 4) xyxy.

    Returns:
        (...) in 0..1.
    """
    size = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    shared = size.clamp(min=0).prod(dim=-1)
    union = box_area(first) + box_area(second) - shared
    return shared / union.clamp(min=torch.finfo(union.dtype).tiny)
