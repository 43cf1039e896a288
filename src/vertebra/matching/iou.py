"""Matching of anchors to objects by IoU."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from vertebra.geometry.boxes import box_area, pairwise_intersection, pairwise_iou


class Match(NamedTuple):
    """The target of each candidate (an anchor or a location).

    Attributes:
        positive: (N, A) bool, the candidate is matched to an object.
        ignored: (N, A) bool, the candidate does not count in the loss. One that is neither positive nor ignored is
            background.
        target: (N, A) int64, index of the object; 0 where not positive.
    """

    positive: Tensor
    ignored: Tensor
    target: Tensor


def match_by_iou(
    anchors: Float[Tensor, "a 4"],
    boxes: Float[Tensor, "n m 4"],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    *,
    foreground: float = 0.5,
    background: float = 0.4,
    min_anchors_per_object: int = 1,
    crowd_overlap: float = 0.5,
) -> Match:
    """Matches anchors to objects by two thresholds of IoU, as RetinaNet does.

    An anchor is matched to the object that it overlaps most if their IoU is at least ``foreground``; it is background
    below ``background``, and ignored in between. With two anchors and two objects and the IoUs
    ``[[0.7, 0.1], [0.2, 0.3]]`` (a row an anchor), the first anchor takes the first object; the second is below the
    background threshold, but takes the second object nevertheless, because no anchor has a larger IoU with that object.

    That is ``min_anchors_per_object = 1``. An object the size of a cell or two then has one anchor where a large one has
    dozens, and rare classes of small objects are hardly learned. A larger ``min_anchors_per_object`` makes that many of
    each object's best anchors positive if their IoU is at least half of ``background``; each is matched to the object
    that it overlaps most. (So an object has none if all its best anchors overlap another object more.)

    Images are matched one by one: a batch at once would take gigabytes where one image is crowded.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002; crowds as in COCO's evaluation;
    a number of anchors per object after Zhang et al., Bridging the Gap Between Anchor-based and
    Anchor-free Detection via Adaptive Training Sample Selection, CVPR 2020, arXiv 1912.02424.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (N, M, 4) xyxy, padded; M may be 0.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        foreground, background: the thresholds.
        min_anchors_per_object: number of each object's best anchors that are positive, whatever the thresholds; 0: by the
            thresholds only.
        crowd_overlap: an anchor with more than this part of its area in a crowd box is ignored, unless it is positive.
    """

    def match_image(
        image_boxes: Float[Tensor, "m 4"], objects: Bool[Tensor, " m"], crowds: Bool[Tensor, " m"]
    ) -> Match:
        iou = pairwise_iou(image_boxes, anchors) * objects[:, None]
        quality, index = iou.max(dim=0)
        positive = quality >= foreground
        if min_anchors_per_object:
            values, indices = iou.topk(min(min_anchors_per_object, len(anchors)), dim=1)
            chosen = values >= background / 2
            chosen = torch.cat([values[:, :1] > 0, chosen[:, 1:]], dim=1)
            padded = positive.new_zeros(len(anchors) + 1)  # the last entry collects unused indices
            positive = positive | padded.scatter(0, torch.where(chosen, indices, len(anchors)).flatten(), True)[:-1]
        part = pairwise_intersection(image_boxes, anchors) / box_area(anchors)
        in_crowd = ((part > crowd_overlap) & crowds[:, None]).any(dim=0)
        ignored = ~positive & ((quality >= background) | in_crowd)
        return Match(positive, ignored, torch.where(positive, index, 0))

    return each_image(match_image, boxes, crowd, count, len(anchors))


def each_image(
    match: Callable[[Tensor, Tensor, Tensor], Match],
    boxes: Float[Tensor, "n m ..."],
    crowd: Bool[Tensor, "n m"],
    count: Int[Tensor, " n"],
    candidates: int,
) -> Match:
    """Matches a batch image by image.

    Args:
        match: maps an image's boxes (M, ...) and masks of its objects (M,) and crowds (M,) to its match over (A,).
        boxes: (N, M, ...), padded; M may be 0.
        crowd: (N, M) bool.
        count: (N,) int64, how many of the M are real.
        candidates: number of candidates, A.
    """
    if boxes.shape[1] == 0:
        nothing = torch.zeros(len(boxes), candidates, dtype=torch.bool, device=boxes.device)
        return Match(nothing, nothing, nothing.long())
    real = torch.arange(crowd.shape[1], device=crowd.device) < count[:, None]
    matches = [match(*image) for image in zip(boxes, real & ~crowd, real & crowd, strict=True)]
    return Match(*(torch.stack(values) for values in zip(*matches, strict=True)))


def without_unknown(match: Match, exhaustive: Bool[Tensor, "n k"] | None) -> Match:
    """A match for a score of all classes together: in an image in which not all classes are annotated, candidates that are not
    positive are ignored, since any of them may be an object.

    Args:
        match: over A candidates.
        exhaustive: (N, K) bool, the classes of which all objects in an image are annotated; None for all.
    """
    if exhaustive is None:
        return match
    unknown = ~exhaustive.all(dim=1)[:, None] & ~match.positive
    return Match(match.positive, match.ignored | unknown, match.target)


def take(values: Shaped[Tensor, "n m *d"], match: Match) -> Shaped[Tensor, "n a *d"]:
    """The value of the matched object for each candidate; of the first object where there is no match.

    Args:
        values: (N, M) or (N, M, D), of the objects; M may be 0.
        match: over A candidates.

    Returns:
        (N, A) or (N, A, D); zeros if M is 0.
    """
    if values.shape[1] == 0:
        return values.new_zeros((*match.target.shape, *values.shape[2:]))
    rows = torch.arange(len(values), device=values.device)[:, None]
    return values[rows, match.target]
