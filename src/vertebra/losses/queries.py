"""Losses of queries that are matched to objects."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from vertebra.geometry.boxes import from_center_size
from vertebra.geometry.giou import paired_iou
from vertebra.losses.scope import counted_classes, exclusive_cross_entropy

BOX_WEIGHT, GIOU_WEIGHT = 5.0, 2.0


class QueryErrors(NamedTuple):
    """Sums over queries, weighted as in DETR and its successors.

    Attributes:
        classification: () of the classes.
        box: () five times the L1 distance of center and size, in parts of the canvas.
        giou: () twice 1 - GIoU.
    """

    classification: Tensor
    box: Tensor
    giou: Tensor

    def total(self) -> Float[Tensor, ""]:
        """() the sum of all three."""
        return self.classification + self.box + self.giou


def query_errors(
    class_logits: Float[Tensor, "n q k"],
    boxes: Float[Tensor, "n q 4"],
    labels: Int[Tensor, "n q"],
    ground_truth: Float[Tensor, "n q 4"],
    positive: Bool[Tensor, "n q"],
    counted: Bool[Tensor, "n q"],
    exhaustive: Bool[Tensor, "n k"] | None = None,
) -> QueryErrors:
    """Errors of queries: class (varifocal loss) of all that count, box of the positive ones.

    Args:
        class_logits: (N, Q, classes), one sigmoid per class.
        boxes: (N, Q, 4) center and size in parts of the canvas.
        labels: (N, Q) int64 class ids of the queries' objects; read where positive only.
        ground_truth: (N, Q, 4) their boxes; read where positive only.
        positive: (N, Q) bool, whether a query has an object.
        counted: (N, Q) bool, whether it counts in the loss.
        exhaustive: (N, K) bool, the classes of which all objects are annotated, see `vertebra.losses.scope`; None for all.
    """
    box, giou, quality = box_errors(boxes, ground_truth, positive)
    score = varifocal_loss(class_logits, labels, quality, positive, exhaustive)
    return QueryErrors(torch.where(counted, score, 0.0).sum(), box, giou)


def exclusive_query_errors(
    class_logits: Float[Tensor, "n q k"],
    boxes: Float[Tensor, "n q 4"],
    labels: Int[Tensor, "n q"],
    ground_truth: Float[Tensor, "n q 4"],
    positive: Bool[Tensor, "n q"],
    exhaustive: Bool[Tensor, "n c"] | None = None,
    *,
    none_weight: float,
) -> tuple[QueryErrors, Float[Tensor, ""]]:
    """Errors of queries with one softmax over the classes and no object: cross entropy, and the box of the positive ones.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object".
        boxes, labels, ground_truth, positive: as for `query_errors`.
        exhaustive: (N, classes) bool, see `vertebra.losses.scope.exclusive_cross_entropy`.
        none_weight: weight of queries without an object in the cross entropy; others have 1.

    Returns:
        The errors, and () the sum of the queries' weights, by which the paper divides the cross entropy.
    """
    box, giou, _ = box_errors(boxes, ground_truth, positive)
    targets = torch.where(positive, labels, class_logits.shape[-1] - 1)
    weight = torch.where(positive, 1.0, none_weight)
    losses = exclusive_cross_entropy(class_logits, targets, exhaustive)
    return QueryErrors((weight * losses).sum(), box, giou), weight.sum()


def box_errors(
    boxes: Float[Tensor, "n q 4"], ground_truth: Float[Tensor, "n q 4"], positive: Bool[Tensor, "n q"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, "n q"]]:
    """Errors of the positive queries' boxes, weighted as in `QueryErrors`, and their IoU.

    Args:
        boxes, ground_truth, positive: as for `query_errors`.

    Returns:
        () of L1, () of GIoU, and (N, Q) IoU without gradient, 0 where not positive.
    """
    boxes = boxes.float()
    # elsewhere a box is compared with itself: the loss is finite, and masking its gradient gives no NaN
    safe = torch.where(positive[..., None], ground_truth.float(), boxes.detach())
    corners, expected = from_center_size(boxes), from_center_size(safe)
    giou = generalized_box_iou_loss(corners, expected, reduction="none")
    return (
        BOX_WEIGHT * torch.where(positive[..., None], (boxes - safe).abs(), 0.0).sum(),
        GIOU_WEIGHT * torch.where(positive, giou, 0.0).sum(),
        torch.where(positive, paired_iou(corners.detach(), expected), 0.0),
    )


def varifocal_loss(
    class_logits: Float[Tensor, "n q k"],
    labels: Int[Tensor, "n q"],
    quality: Float[Tensor, "n q"],
    positive: Bool[Tensor, "n q"],
    exhaustive: Bool[Tensor, "n k"] | None = None,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
) -> Float[Tensor, "n q"]:
    """The varifocal loss: the target of the right class is the IoU of the box, that of all other classes is 0.

    Zhang et al., VarifocalNet, CVPR 2021, arXiv 2008.13367. The weight of negative scores falls with the score; that
    of positive scores is their target.

    Args:
        class_logits: (N, Q, classes).
        labels: (N, Q) int64; read where positive only.
        quality: (N, Q) in 0..1, without gradient.
        positive: (N, Q) bool.
        exhaustive: (N, K) bool, the classes of which all objects are annotated, see `vertebra.losses.scope`; None for all.
        alpha: weight of negative scores.
        gamma: exponent; a larger one gives less weight to easy negative scores.

    Returns:
        (N, Q) summed over classes.
    """
    logits = class_logits.float()
    classes = torch.arange(logits.shape[-1], device=logits.device)
    is_class = (labels[..., None] == classes) & positive[..., None]
    expected = torch.where(is_class, quality[..., None], 0.0)
    weight = torch.where(is_class, expected, alpha * logits.detach().sigmoid() ** gamma)
    countable = counted_classes(is_class, exhaustive)
    weight = weight if countable is None else torch.where(countable, weight, 0.0)
    return F.binary_cross_entropy_with_logits(logits, expected, weight=weight, reduction="none").sum(dim=-1)
