"""What the matchers of locations share: where a location lies in an object, and batches image by image."""

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
    boxes: Float[Tensor, "m 4"], points: Float[Tensor, "a 2"], reach: Float[Tensor, " a"]
) -> Bool[Tensor, "m a"]:
    """Whether each point lies near each box's center.

    Args:
        boxes: (M, 4) xyxy.
        points: (A, 2) x, y.
        reach: (A,) how far from the center a point may be, along both axes, in pixels.

    Returns:
        (M, A) bool.
    """
    center = 0.5 * (boxes[:, None, :2] + boxes[:, None, 2:])
    return (points - center).abs().amax(dim=-1) <= reach


def image_by_image(
    match: Callable[..., tuple[Tensor, ...]],
    boxes: Float[Tensor, "n m 4"],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *others: Shaped[Tensor, "n ..."],
) -> list[Tensor]:
    """The matches of a batch that depend on what is predicted, made image by image: all at once would take gigabytes
    where one image is crowded.

    Args:
        match: from an image's boxes (M, 4), which of them are objects to find (M,; those without area are none), which
            are crowds (M,), and its rows of ``others``, to tensors over its locations (A,). M is at least 1 there.
        boxes: (N, M, 4) xyxy, padded; M may be 0.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        others: (N, ...) each.

    Returns:
        (N, A) each.
    """
    if boxes.shape[1] == 0:
        boxes, crowd = F.pad(boxes, (0, 0, 0, 1)), F.pad(crowd, (0, 1))
    real = torch.arange(crowd.shape[1], device=crowd.device) < count[:, None]
    objects = real & ~crowd & (box_area(boxes) > 0)
    found = [match(*own) for own in zip(boxes, objects, real & crowd, *others, strict=True)]
    return [torch.stack(values) for values in zip(*found, strict=True)]
