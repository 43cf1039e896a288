"""Losses of set prediction: the objects of a batch, and the errors of the queries matched to them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from vertebra.decoders.detect._query_selection import rows
from vertebra.geometry.boxes import to_center_size
from vertebra.losses.queries import QueryErrors, exclusive_query_errors, query_errors
from vertebra.matching.one_to_one import exclusive_query_cost, match_queries, query_cost
from vertebra.tasks.detect.targets import DetectTargets


class Objects(NamedTuple):
    """The objects to find.

    Attributes:
        boxes: (N, M, 4) float32 center and size in parts of the canvas or of the image; M is at least 1.
        labels: (N, M) int64, 0 for padding.
        count: (N,) int64, how many of the M are real; they come first.
        exhaustive: (N, K) bool, see `vertebra.tasks.detect.targets.DetectTargets`.
    """

    boxes: Tensor
    labels: Tensor
    count: Tensor  # type: ignore[assignment]  # a field, not tuple.count
    exhaustive: Tensor | None = None


def objects_of(targets: DetectTargets, extent: tuple[int, int] | Tensor) -> Objects:
    """The objects of a batch without its crowd boxes, which are not matched.

    Args:
        targets: the ground truth in canvas pixels.
        extent: (height, width) that boxes are divided by: of the canvas; or (N, 2), of each image.
    """
    if targets.labels.shape[1] == 0:
        empty = targets.labels.new_zeros(len(targets.labels), 1)
        return Objects(targets.boxes.new_zeros(len(empty), 1, 4), empty, targets.count, targets.exhaustive)
    real = torch.arange(targets.labels.shape[1], device=targets.labels.device) < targets.count[:, None]
    objects = real & ~targets.crowd
    order = (~objects).long().argsort(dim=1, stable=True)
    sides = torch.as_tensor(extent, device=targets.boxes.device).flip(-1).expand(len(objects), 2).repeat(1, 2)
    boxes = to_center_size(targets.boxes.float()) / sides[:, None]
    labels = torch.where(objects, targets.labels, 0)
    return Objects(rows(boxes, order), labels.gather(1, order), objects.sum(dim=1), targets.exhaustive)


def matched_errors(class_logits: Tensor, boxes: Tensor, ground_truth: Objects) -> QueryErrors:
    """Errors of queries after the cheapest one-to-one matching.

    Args:
        class_logits: (N, Q, classes).
        boxes: (N, Q, 4) center and size in parts of the canvas.
        ground_truth: the objects.
    """
    with torch.no_grad():
        target = match_queries(
            query_cost(class_logits, boxes.float(), ground_truth.labels, ground_truth.boxes), ground_truth.count
        )
    return known_errors(
        class_logits, boxes, ground_truth, target.clamp(min=0), target >= 0, torch.ones_like(target).bool()
    )


def known_errors(
    class_logits: Tensor, boxes: Tensor, ground_truth: Objects, target: Tensor, positive: Tensor, counted: Tensor
) -> QueryErrors:
    """Errors of queries whose objects are known.

    Args:
        target: (N, Q) int64, which object.
        positive: (N, Q) bool, whether the object is the query's target; otherwise its target is no object.
        counted: (N, Q) bool, whether the query counts in the loss.
    """
    labels, expected = ground_truth.labels.gather(1, target), rows(ground_truth.boxes, target)
    return query_errors(class_logits, boxes, labels, expected, positive, counted, ground_truth.exhaustive)


def matched_exclusive_errors(
    class_logits: Tensor, boxes: Tensor, ground_truth: Objects, none_weight: float
) -> tuple[QueryErrors, Tensor]:
    """Errors of queries with one softmax over the classes and no object, after the cheapest one-to-one matching.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object".
        boxes: (N, Q, 4) center and size in the same units as ``ground_truth``.
        ground_truth: the objects.
        none_weight: weight of queries without an object in the classification.

    Returns:
        The errors, and () the sum of the queries' weights.
    """
    with torch.no_grad():
        cost = exclusive_query_cost(class_logits, boxes.float(), ground_truth.labels, ground_truth.boxes)
        target = match_queries(cost, ground_truth.count)
    index = target.clamp(min=0)
    labels, expected = ground_truth.labels.gather(1, index), rows(ground_truth.boxes, index)
    scope = ground_truth.exhaustive
    return exclusive_query_errors(class_logits, boxes, labels, expected, target >= 0, scope, none_weight=none_weight)
