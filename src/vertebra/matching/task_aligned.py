"""Task-aligned matching of locations to objects, by class score and IoU together."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.geometry.boxes import pairwise_iou
from vertebra.matching.iou import Match
from vertebra.matching.location_tests import image_by_image, inside, near_center

# lower bounds, so that neither factor alone makes the product 0
MIN_SCORE, MIN_OVERLAP = 1e-6, 1e-3


class Alignment(NamedTuple):
    """The target of each location, and its target score.

    Attributes:
        match: over the A locations.
        quality: (N, A) float32 in 0..1, the target score of its object's class; 0 where not positive.
    """

    match: Match
    quality: Tensor


def match_by_alignment(
    scores: Float[Tensor, "n a k"],
    predicted: Float[Tensor, "n a 4"],
    points: Float[Tensor, "a 2"],
    strides: Float[Tensor, " a"],
    labels: Int[Tensor, "n m"],
    boxes: Float[Tensor, "n m 4"],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *,
    max_locations: int = 13,
    alpha: float = 1.0,
    beta: float = 6.0,
    min_quality: float = 0.5,
) -> Alignment:
    """Matches each object to the locations in it with the best class score and box together.

    For a location with the score s for the object's class and a box that overlaps the object with the IoU u, the
    alignment is t = s^alpha * u^beta. The ``max_locations`` best locations of each object are positive; one that is among
    the best of several objects is matched to the object with the largest IoU. Its quality, the target score, is its t
    divided by the largest t of the object's locations, times the largest u of them: with two
    locations, (s, u) = (0.5, 0.8) and (0.5, 0.4), and beta = 1, the t are 0.4 and 0.2, and the qualities 0.8 and 0.4.

    A location is in an object if it lies within the object's box, or the object's center lies in its cell; so an object
    smaller than a cell has locations, too.

    Feng et al., TOOD: Task-aligned One-stage Object Detection, ICCV 2021, arXiv 2108.07755. Differences: small objects,
    as above; the best location of an object has a quality of at least ``min_quality``, so that an object that every
    box still misses is learned, too; no warm-up with another matching, because the initial boxes have a sensible size.
    A location in a crowd box is ignored unless it is positive.

    Args:
        scores: (N, A, classes) in 0..1, as predicted.
        predicted: (N, A, 4) xyxy.
        points: (A, 2) x, y in pixels.
        strides: (A,) stride of each point's level, in pixels.
        labels: (N, M) int64 class ids, padded with -1; M may be 0.
        boxes: (N, M, 4) xyxy, padded.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        max_locations: largest number of locations of an object.
        alpha, beta: the exponents of score and IoU.
        min_quality: see above.
    """
    if labels.shape[1] == 0:
        labels = F.pad(labels, (0, 1))

    match_image = partial(
        _match_image,
        points=points,
        strides=strides,
        max_locations=max_locations,
        alpha=alpha,
        beta=beta,
        min_quality=min_quality,
    )
    with torch.no_grad():
        positive, ignored, target, quality = image_by_image(
            match_image, boxes, crowd, count, labels, scores.float(), predicted.float()
        )
    return Alignment(Match(positive, ignored, target), quality)


def _match_image(
    boxes: Float[Tensor, "m 4"],
    objects: Bool[Tensor, " m"],
    crowd: Bool[Tensor, " m"],
    labels: Int[Tensor, " m"],
    scores: Float[Tensor, "a k"],
    predicted: Float[Tensor, "a 4"],
    *,
    points: Float[Tensor, "a 2"],
    strides: Float[Tensor, " a"],
    max_locations: int,
    alpha: float,
    beta: float,
    min_quality: float,
) -> tuple[Bool[Tensor, " a"], Bool[Tensor, " a"], Int[Tensor, " a"], Float[Tensor, " a"]]:
    """The positive and the ignored locations of one image, the object of each positive one, and its quality."""
    overlap = pairwise_iou(boxes, predicted)
    class_score = scores.t()[labels.clamp(min=0)].clamp(min=MIN_SCORE)
    alignment = class_score**alpha * overlap.clamp(min=MIN_OVERLAP) ** beta
    within = inside(boxes, points)
    allowed = (within | near_center(boxes, points, 0.5 * strides)) & objects[:, None]
    chosen = _best_of_each(torch.where(allowed, alignment, -1.0), max_locations) & allowed
    largest, index = torch.where(chosen, overlap, -1.0).max(dim=0)
    positive = largest >= 0
    assigned = chosen & (torch.arange(len(boxes), device=boxes.device)[:, None] == index)
    aligned, fit = torch.where(assigned, alignment, 0.0), torch.where(assigned, overlap, 0.0)
    share = aligned / aligned.amax(dim=1, keepdim=True).clamp(min=torch.finfo(aligned.dtype).tiny)
    quality = (share * fit.amax(dim=1, keepdim=True).clamp(min=min_quality)).amax(dim=0)
    ignored = ~positive & (within & crowd[:, None]).any(dim=0)
    return positive, ignored, torch.where(positive, index, 0), quality


def _best_of_each(values: Float[Tensor, "m a"], count: int) -> Bool[Tensor, "m a"]:
    """Marks the ``count`` largest values (M, A) of each row; all where there are no more."""
    indices = values.topk(min(count, values.shape[1]), dim=1).indices
    return torch.zeros_like(values, dtype=torch.bool).scatter(1, indices, True)
