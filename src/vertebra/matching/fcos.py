"""FCOS's matching of locations to objects, by position and size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

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


class LocationsInObjects(NamedTuple):
    """Where locations lie in the objects of an image.

    Attributes:
        distances: (M, A, 4) from each location to the four sides of each object, all positive inside.
        centers: (M, 2) x, y of the objects.
        areas: (M,) square pixels.
    """

    distances: Tensor
    centers: Tensor
    areas: Tensor


def in_upright_boxes(boxes: Float[Tensor, "m 4"], points: Float[Tensor, "a 2"]) -> LocationsInObjects:
    """Of locations (A, 2) in boxes (M, 4) xyxy."""
    centers = 0.5 * (boxes[:, :2] + boxes[:, 2:])
    return LocationsInObjects(encode_distances(boxes[:, None], points), centers, box_area(boxes))


def match_by_location(
    points: Float[Tensor, "a 2"],
    levels: Int[Tensor, " a"],
    strides: Sequence[int],
    boxes: Float[Tensor, "n m ..."],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *,
    radius: float = 1.5,
    locate: Callable[[Tensor, Tensor], LocationsInObjects] = in_upright_boxes,
) -> Match:
    """Matches locations to objects: in the object, near its center, on the level for its size; the smallest object first.

    Tian et al., FCOS: Fully Convolutional One-Stage Object Detection, ICCV 2019, arXiv 1904.01355, with the center
    sampling of its later version. A location in a crowd box is ignored unless it is positive.

    Args:
        points: (A, 2) x, y in pixels.
        levels: (A,) int64, the level of each point.
        strides: pixels per cell of each level, finest first.
        boxes: (N, M, ...) as ``locate`` takes those of an image, by default (N, M, 4) xyxy; padded; M may be 0.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        radius: a location is near an object's center if it is within this many strides of it along both axes.
        locate: returns the distances of locations in the objects of an image.
    """
    stride = torch.tensor(strides, dtype=boxes.dtype, device=boxes.device)[levels]
    lower, upper = torch.tensor(size_ranges(strides), dtype=boxes.dtype, device=boxes.device)[levels].unbind(-1)

    def match_image(
        image_boxes: Float[Tensor, "m ..."], objects: Bool[Tensor, " m"], crowds: Bool[Tensor, " m"]
    ) -> Match:
        distances, centers, areas = locate(image_boxes, points)
        inside = distances.amin(dim=-1) > 0
        reach = distances.amax(dim=-1)
        near = (points - centers[:, None]).abs().amax(dim=-1) < radius * stride
        fits = inside & near & (reach >= lower) & (reach <= upper) & objects[:, None]
        area = torch.where(fits, areas[:, None], float("inf"))
        smallest, index = area.min(dim=0)
        positive = smallest < float("inf")
        ignored = ~positive & (inside & crowds[:, None]).any(dim=0)
        return Match(positive, ignored, torch.where(positive, index, 0))

    return each_image(match_image, boxes, crowd, count, len(points))
