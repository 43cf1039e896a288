"""SimOTA: matching of locations to objects by cost, with a dynamic number of locations for each object."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.geometry.boxes import pairwise_iou
from vertebra.matching.iou import Match
from vertebra.matching.location_tests import image_by_image, inside, near_center

BOX_WEIGHT = 3.0
OUTSIDE = 1e5  # added cost of a location that is not both in the object and near its center


def match_by_cost(
    scores: Float[Tensor, "n a k"],
    predicted: Float[Tensor, "n a 4"],
    points: Float[Tensor, "a 2"],
    strides: Float[Tensor, " a"],
    labels: Int[Tensor, "n m"],
    boxes: Float[Tensor, "n m 4"],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *,
    radius: float = 2.5,
    max_locations: int = 10,
) -> Match:
    """Matches each object to the locations with the least cost; the better the predictions, the more of them (SimOTA).

    A location is a candidate for an object if it lies in the object's box or within ``radius`` strides of its center. Its
    cost is the cross-entropy of its scores, plus three times the negative logarithm of its box's IoU with the object,
    plus a very large number unless it lies both in the box and near the center. The number of an object's locations is
    the sum of the ``max_locations`` largest IoUs, rounded down, but at least one: with the IoUs 0.9, 0.7 and 0.6 it gets the two
    locations with the least cost. A location selected for several objects is matched to the one with the least cost.

    Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430, section 2.1. Differences: locations
    neither in an object nor near its center are not matched to it and do not count for its number. A location in a crowd
    box is ignored unless it is positive.

    Args:
        scores: (N, A, classes) in 0..1, as predicted.
        predicted: (N, A, 4) xyxy.
        points: (A, 2) x, y in pixels.
        strides: (A,) stride of each point's level, in pixels.
        labels: (N, M) int64 class ids, padded with -1; M may be 0.
        boxes: (N, M, 4) xyxy, padded.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        radius: see above.
        max_locations: largest number of locations of an object.
    """
    if labels.shape[1] == 0:
        labels = F.pad(labels, (0, 1))

    match_image = partial(_match_image, points=points, radius=radius * strides, max_locations=max_locations)
    with torch.no_grad():
        return Match(*image_by_image(match_image, boxes, crowd, count, labels, scores.float(), predicted.float()))


def _match_image(
    boxes: Float[Tensor, "m 4"],
    objects: Bool[Tensor, " m"],
    crowd: Bool[Tensor, " m"],
    labels: Int[Tensor, " m"],
    scores: Float[Tensor, "a k"],
    predicted: Float[Tensor, "a 4"],
    *,
    points: Float[Tensor, "a 2"],
    radius: Float[Tensor, " a"],
    max_locations: int,
) -> tuple[Bool[Tensor, " a"], Bool[Tensor, " a"], Int[Tensor, " a"]]:
    """The positive and the ignored locations of one image, and the object of each positive one; see `match_by_cost`."""
    within, central = inside(boxes, points), near_center(boxes, points, radius)
    allowed = (within | central) & objects[:, None]
    overlap = torch.where(allowed, pairwise_iou(boxes, predicted), 0.0)
    cost = _class_cost(scores, labels) - BOX_WEIGHT * (overlap + 1e-8).log()
    cost = cost + OUTSIDE * ~(within & central)
    chosen = _cheapest(torch.where(allowed, cost, float("inf")), overlap, max_locations)
    lowest, index = torch.where(chosen, cost, float("inf")).min(dim=0)
    positive = lowest < float("inf")
    ignored = ~positive & (within & crowd[:, None]).any(dim=0)
    return positive, ignored, torch.where(positive, index, 0)


def _class_cost(scores: Float[Tensor, "a k"], classes: Int[Tensor, " m"]) -> Float[Tensor, "m a"]:
    """(M, A) cross-entropy, summed over classes, of each location's scores (A, classes) for objects of the classes (M,).

    Both logarithms are clamped at -100, as in torch's binary cross-entropy of probabilities.
    """
    yes, no = scores.log().clamp(min=-100), (1 - scores).log().clamp(min=-100)
    return -(no.sum(dim=-1) + (yes - no).t()[classes.clamp(min=0)])


def _cheapest(cost: Float[Tensor, "m a"], overlap: Float[Tensor, "m a"], max_locations: int) -> Bool[Tensor, "m a"]:
    """Marks for each object the locations with the least cost, as many as its IoUs add up to.

    Args:
        cost: (M, A), infinite where a location is no candidate for the object.
        overlap: (M, A) IoU, 0 there.
        max_locations: largest number per object.

    Returns:
        (M, A) bool.
    """
    count = min(max_locations, cost.shape[1])
    number = overlap.topk(count, dim=1).values.sum(dim=1).int().clamp(min=1)
    ranked = cost.topk(count, dim=1, largest=False)
    taken = (torch.arange(count, device=cost.device) < number[:, None]) & ranked.values.isfinite()
    return torch.zeros_like(cost, dtype=torch.bool).scatter(1, ranked.indices, taken)
