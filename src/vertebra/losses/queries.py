"""Losses of queries that know which object they answer for."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from vertebra.geometry.boxes import from_center_size
from vertebra.geometry.giou import paired_iou

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
        """() all three."""
        return self.classification + self.box + self.giou


def query_errors(
    class_logits: Float[Tensor, "n q k"],
    boxes: Float[Tensor, "n q 4"],
    labels: Int[Tensor, "n q"],
    ground_truth: Float[Tensor, "n q 4"],
    positive: Bool[Tensor, "n q"],
    counted: Bool[Tensor, "n q"],
) -> QueryErrors:
    """Errors of queries: class (varifocal loss) of all that count, box of the positive ones.

    Args:
        class_logits: (N, Q, classes), each class for itself.
        boxes: (N, Q, 4) center and size in parts of the canvas.
        labels: (N, Q) int64 class ids of the queries' objects; read where positive only.
        ground_truth: (N, Q, 4) their boxes; read where positive only.
        positive: (N, Q) bool, whether a query has an object.
        counted: (N, Q) bool, whether it takes part at all.
    """
    box, giou, quality = box_errors(boxes, ground_truth, positive)
    score = varifocal_loss(class_logits, labels, quality, positive)
    return QueryErrors(torch.where(counted, score, 0.0).sum(), box, giou)


def exclusive_query_errors(
    class_logits: Float[Tensor, "n q k"],
    boxes: Float[Tensor, "n q 4"],
    labels: Int[Tensor, "n q"],
    ground_truth: Float[Tensor, "n q 4"],
    positive: Bool[Tensor, "n q"],
    *,
    none_weight: float,
) -> tuple[QueryErrors, Float[Tensor, ""]]:
    """Errors of queries that are of one class or of none: softmax cross entropy, and the box of the positive ones.

    Carion et al., End-to-End Object Detection with Transformers, ECCV 2020, arXiv 2005.12872.

    Args:
        class_logits: (N, Q, classes + 1), the last for "no object".
        boxes, labels, ground_truth, positive: as for `query_errors`.
        none_weight: what a query that is to find nothing weighs in the cross entropy; others weigh 1.

    Returns:
        The errors, and () the sum of the queries' weights, by which the paper divides the cross entropy.
    """
    box, giou, _ = box_errors(boxes, ground_truth, positive)
    logits = class_logits.float()
    wanted = torch.where(positive, labels, logits.shape[-1] - 1)
    weight = torch.where(positive, 1.0, none_weight)
    surprise = F.cross_entropy(logits.flatten(0, 1), wanted.flatten(), reduction="none").reshape(wanted.shape)
    return QueryErrors((weight * surprise).sum(), box, giou), weight.sum()


def box_errors(
    boxes: Float[Tensor, "n q 4"], ground_truth: Float[Tensor, "n q 4"], positive: Bool[Tensor, "n q"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""], Float[Tensor, "n q"]]:
    """Errors of the positive queries' boxes, weighted as in `QueryErrors`, and how well they fit.

    Args:
        boxes, ground_truth, positive: as for `query_errors`.

    Returns:
        () of L1, () of GIoU, and (N, Q) IoU without gradient, 0 where not positive.
    """
    boxes = boxes.float()
    # Elsewhere a box is compared with itself: a finite loss whose gradient the mask takes away without leaving a NaN.
    safe = torch.where(positive[..., None], ground_truth.float(), boxes.detach())
    corners, wanted = from_center_size(boxes), from_center_size(safe)
    giou = generalized_box_iou_loss(corners, wanted, reduction="none")
    return (
        BOX_WEIGHT * torch.where(positive[..., None], (boxes - safe).abs(), 0.0).sum(),
        GIOU_WEIGHT * torch.where(positive, giou, 0.0).sum(),
        torch.where(positive, paired_iou(corners.detach(), wanted), 0.0),
    )


def varifocal_loss(
    class_logits: Float[Tensor, "n q k"],
    labels: Int[Tensor, "n q"],
    quality: Float[Tensor, "n q"],
    positive: Bool[Tensor, "n q"],
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
) -> Float[Tensor, "n q"]:
    """The score of the right class is to be how well the box fits; all other scores are to be 0.

    Zhang et al., VarifocalNet, CVPR 2021, arXiv 2008.13367. What is to be 0 weighs the less the nearer it is; what is not,
    as much as it is to be.

    Args:
        class_logits: (N, Q, classes).
        labels: (N, Q) int64; read where positive only.
        quality: (N, Q) in 0..1, without gradient.
        positive: (N, Q) bool.
        alpha: weight of what is to be 0.
        gamma: how much easy ones of these are weighted down.

    Returns:
        (N, Q) summed over classes.
    """
    logits = class_logits.float()
    classes = torch.arange(logits.shape[-1], device=logits.device)
    own = (labels[..., None] == classes) & positive[..., None]
    wanted = torch.where(own, quality[..., None], 0.0)
    weight = torch.where(own, wanted, alpha * logits.detach().sigmoid() ** gamma)
    return F.binary_cross_entropy_with_logits(logits, wanted, weight=weight, reduction="none").sum(dim=-1)
