"""Box encodings for regression: relative to an anchor, or as distances from a point."""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor

from vertebra.geometry.boxes import from_center_size, to_center_size

GREATEST_LOG_SCALE = math.log(1000 / 16)
CODE_WEIGHTS = (10.0, 10.0, 5.0, 5.0)
"""The factors of encoded boxes in SSD and Faster R-CNN, which bring the regression targets to unit scale."""


def encode_deltas(boxes: Float[Tensor, "*#b 4"], anchors: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b 4"]:
    """Encodes boxes relative to their anchors.

    Girshick et al., Rich feature hierarchies for accurate object detection and semantic segmentation, CVPR 2014,
    arXiv 1311.2524, appendix C.

    Args:
        boxes: (..., 4) xyxy; neither side may be 0.
        anchors: (..., 4) xyxy, broadcast against the boxes.

    Returns:
        (..., 4) shift of the center in anchor widths and heights, then the logarithm of the growth of width and height.
    """
    box, anchor = to_center_size(boxes), to_center_size(anchors)
    shift = (box[..., :2] - anchor[..., :2]) / anchor[..., 2:]
    return torch.cat([shift, (box[..., 2:] / anchor[..., 2:]).log()], dim=-1)


def decode_deltas(deltas: Float[Tensor, "*#b 4"], anchors: Float[Tensor, "*#b 4"]) -> Float[Tensor, "*b 4"]:
    """The inverse of `encode_deltas`; the growth is limited to 62.5 times, so nothing overflows.

    Args:
        deltas: (..., 4).
        anchors: (..., 4) xyxy, broadcast against the deltas.

    Returns:
        (..., 4) xyxy.
    """
    anchor = to_center_size(anchors)
    center = anchor[..., :2] + deltas[..., :2] * anchor[..., 2:]
    size = anchor[..., 2:] * deltas[..., 2:].clamp(max=GREATEST_LOG_SCALE).exp()
    return from_center_size(torch.cat([center, size], dim=-1))


def encode_distances(boxes: Float[Tensor, "*#b 4"], points: Float[Tensor, "*#b 2"]) -> Float[Tensor, "*b 4"]:
    """The distances of a box's sides from a point.

    Args:
        boxes: (..., 4) xyxy.
        points: (..., 2) x, y, broadcast against the boxes.

    Returns:
        (..., 4) distances in pixels to the left, top, right and bottom side; all positive where the point is inside.
    """
    return torch.cat([points - boxes[..., :2], boxes[..., 2:] - points], dim=-1)


def decode_distances(distances: Float[Tensor, "*#b 4"], points: Float[Tensor, "*#b 2"]) -> Float[Tensor, "*b 4"]:
    """The inverse of `encode_distances`.

    Args:
        distances: (..., 4) left, top, right, bottom, in pixels.
        points: (..., 2) x, y, broadcast against the distances.

    Returns:
        (..., 4) xyxy.
    """
    return torch.cat([points - distances[..., :2], points + distances[..., 2:]], dim=-1)
