"""FCOS's matching of locations to objects, by position and size."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.geometry.box_coding import encode_distances
from vertebra.geometry.boxes import box_area
from vertebra.matching.iou import Match, each_image


def size_ranges(strides: Sequence[int], factor: float = 8.0) -> list[tuple[float, float]]:
    """The range of object sizes of each level, finest level first.

    The size of an object, for a location in it, is the distance to its farthest side. The range of a level ends at
    ``factor`` times its stride and begins where that of the level before ends; the coarsest has no upper limit. Strides 8
    to 128 give the paper's limits 64, 128, 256 and 512.
    """
    bounds = [0.0, *(factor * stride for stride in strides[:-1]), float("inf")]
    return list(itertools.pairwise(bounds))


def match_by_location(
    points: Float[Tensor, "a 2"],
    levels: Int[Tensor, " a"],
    strides: Sequence[int],
    boxes: Float[Tensor, "n m 4"],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *,
    radius: float = 1.5,
) -> Match:
    """Matches locations to objects: in the object, near its center, on the level for its size; the smallest object first.

    Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019, arXiv 1904.01355, with the center
    sampling of its later version. A location in a crowd box is ignored unless it is positive.

    Args:
        points: (A, 2) x, y in pixels.
        levels: (A,) int64, the level of each point.
        strides: pixels per cell of each level, finest first.
        boxes: (N, M, 4) xyxy, padded; M may be 0.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        radius: a location is near an object's center if it is within this many strides of it along both axes.
    """
    stride = torch.tensor(strides, dtype=boxes.dtype, device=boxes.device)[levels]
    lower, upper = torch.tensor(size_ranges(strides), dtype=boxes.dtype, device=boxes.device)[levels].unbind(-1)

    def match_image(
        image_boxes: Float[Tensor, "m 4"], objects: Bool[Tensor, " m"], crowds: Bool[Tensor, " m"]
    ) -> Match:
        distances = encode_distances(image_boxes[:, None], points)
        inside = distances.amin(dim=-1) > 0
        reach = distances.amax(dim=-1)
        center = 0.5 * (image_boxes[:, :2] + image_boxes[:, 2:])
        near = (points - center[:, None]).abs().amax(dim=-1) < radius * stride
        fits = inside & near & (reach >= lower) & (reach <= upper) & objects[:, None]
        area = torch.where(fits, box_area(image_boxes)[:, None], float("inf"))
        smallest, index = area.min(dim=0)
        positive = smallest < float("inf")
        ignored = ~positive & (inside & crowds[:, None]).any(dim=0)
        return Match(positive, ignored, torch.where(positive, index, 0))

    return each_image(match_image, boxes, crowd, count, len(points))
