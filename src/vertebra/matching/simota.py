"""Which location answers for which object, by what it would cost, and for how many locations an object is worth."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.geometry.boxes import pairwise_iou
from vertebra.matching.iou import Match
from vertebra.matching.location_tests import image_by_image, inside, near_center

BOX_WEIGHT = 3.0
OUTSIDE = 1e5  # what a location costs that is not both in the object and near its center


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
    most: int = 10,
) -> Match:
    """Matches each object to the locations that cost least, to the more of them the better the predictions are (SimOTA).

    A location may answer for an object if it lies in the object's box or within ``radius`` strides of its center. It
    costs the cross-entropy of its scores, plus three times the negative logarithm of its box's IoU with the object,
    plus a very large number unless it lies both in the box and near the center. An object gets as many locations as the
    IoUs of its ``most`` best ones add up to, rounded down, but at least one: with the IoUs 0.9, 0.7 and 0.6 it gets the
    two that cost least. A location that is among the chosen ones of several objects answers for that for which it costs
    least.

    Ge et al., YOLOX: Exceeding YOLO Series in 2021, arXiv 2107.08430, section 2.1. Differences: an object takes no
    location that lies neither in it nor near its center, and those do not count for how many it gets. A location in a
    crowd box is ignored unless it answers for an object.

    Args:
        scores: (N, A, classes) in 0..1, as predicted.
        predicted: (N, A, 4) xyxy.
        points: (A, 2) x, y in pixels.
        strides: (A,) pixels in the cell of each point.
        labels: (N, M) int64 class ids, padded with -1; M may be 0.
        boxes: (N, M, 4) xyxy, padded.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        radius: see above.
        most: how many locations an object gets at most.
    """
    if labels.shape[1] == 0:
        labels = F.pad(labels, (0, 1))

    def one(
        own: Float[Tensor, "m 4"],
        objects: Bool[Tensor, " m"],
        crowds: Bool[Tensor, " m"],
        kinds: Int[Tensor, " m"],
        score: Float[Tensor, "a k"],
        guess: Float[Tensor, "a 4"],
    ) -> tuple[Bool[Tensor, " a"], Bool[Tensor, " a"], Int[Tensor, " a"]]:
        within, central = inside(own, points), near_center(own, points, radius * strides)
        allowed = (within | central) & objects[:, None]
        overlap = torch.where(allowed, pairwise_iou(own, guess), 0.0)
        cost = _class_cost(score, kinds) - BOX_WEIGHT * (overlap + 1e-8).log()
        cost = cost + OUTSIDE * ~(within & central)
        chosen = _cheapest(torch.where(allowed, cost, float("inf")), overlap, most)
        least, index = torch.where(chosen, cost, float("inf")).min(dim=0)
        positive = least < float("inf")
        ignored = ~positive & (within & crowds[:, None]).any(dim=0)
        return positive, ignored, torch.where(positive, index, 0)

    with torch.no_grad():
        return Match(*image_by_image(one, boxes, crowd, count, labels, scores.float(), predicted.float()))


def _class_cost(scores: Float[Tensor, "a k"], kinds: Int[Tensor, " m"]) -> Float[Tensor, "m a"]:
    """(M, A) cross-entropy, summed over classes, of each location's scores (A, classes) for objects of the classes (M,).

    Both logarithms are held above -100, as torch's own cross-entropy of probabilities has it.
    """
    yes, no = scores.log().clamp(min=-100), (1 - scores).log().clamp(min=-100)
    return -(no.sum(dim=-1) + (yes - no).t()[kinds.clamp(min=0)])


def _cheapest(cost: Float[Tensor, "m a"], overlap: Float[Tensor, "m a"], most: int) -> Bool[Tensor, "m a"]:
    """Marks for each object the locations that cost least, as many as its IoUs add up to.

    Args:
        cost: (M, A), infinite where a location may not answer for the object.
        overlap: (M, A) IoU, 0 there.
        most: how many at most.

    Returns:
        (M, A) bool.
    """
    count = min(most, cost.shape[1])
    wanted = overlap.topk(count, dim=1).values.sum(dim=1).int().clamp(min=1)
    ranked = cost.topk(count, dim=1, largest=False)
    taken = (torch.arange(count, device=cost.device) < wanted[:, None]) & ranked.values.isfinite()
    return torch.zeros_like(cost, dtype=torch.bool).scatter(1, ranked.indices, taken)
