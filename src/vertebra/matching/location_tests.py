"""Shared by the matchers of locations: tests of a location's position in an object, and matching image by image."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vertebra.geometry.box_coding import encode_distances
from vertebra.geometry.boxes import box_area


def inside(boxes: Float[Tensor, "m 4"], points: Float[Tensor, "a 2"]) -> Bool[Tensor, "m a"]:
    """Whether each point lies in each box.

    Args:
        boxes: (M, 4) xyxy.
        points: (A, 2) x, y.

    Returns:
        (M, A) bool.
    """
    return encode_distances(boxes[:, None], points).amin(dim=-1) > 0


def near_center(
    boxes: Float[Tensor, "m 4"], points: Float[Tensor, "a 2"], radius: Float[Tensor, " a"]
) -> Bool[Tensor, "m a"]:
    """Whether each point lies near each box's center.

    Args:
        boxes: (M, 4) xyxy.
        points: (A, 2) x, y.
        radius: (A,) largest distance from the center along either axis, in pixels.

    Returns:
        (M, A) bool.
    """
    center = 0.5 * (boxes[:, None, :2] + boxes[:, None, 2:])
    return (points - center).abs().amax(dim=-1) <= radius


def image_by_image(
    match: Callable[..., tuple[Tensor, ...]],
    boxes: Float[Tensor, "n m 4"],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *predictions: Shaped[Tensor, "n ..."],
) -> list[Tensor]:
    """Matches a batch that depends on predictions, image by image: a batch at once would take gigabytes where one image is
    crowded.

    Args:
        match: maps an image's boxes (M, 4), masks of its objects (M,; without boxes of no area) and crowds (M,), and its rows
            of ``predictions`` to tensors over its locations (A,). M is at least 1 there.
        boxes: (N, M, 4) xyxy, padded; M may be 0.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        predictions: (N, ...) each.

    Returns:
        (N, A) each.
    """
    if boxes.shape[1] == 0:
        boxes, crowd = F.pad(boxes, (0, 0, 0, 1)), F.pad(crowd, (0, 1))
    real = torch.arange(crowd.shape[1], device=crowd.device) < count[:, None]
    objects = real & ~crowd & (box_area(boxes) > 0)
    matches = [match(*image) for image in zip(boxes, objects, real & crowd, *predictions, strict=True)]
    return [torch.stack(values) for values in zip(*matches, strict=True)]
