"""Losses of queries that know which object they answer for."""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from vertebra.geometry.boxes import from_center_size
from vertebra.geometry.giou import paired_iou

BOX_WEIGHT, GIOU_WEIGHT = 5.0, 2.0


class QueryErrors(NamedTuple):
    """Sums over queries, weighted as in DETR and its successors.

    Attributes:
        classification: () varifocal loss.
        box: () five times the L1 distance of centre and size, in parts of the canvas.
        giou: () twice 1 - GIoU.
    """

    classification: Tensor
    box: Tensor
    giou: Tensor

    def total(self) -> Tensor:
        """() all three."""
        return self.classification + self.box + self.giou


def query_errors(
    class_logits: Tensor,
    boxes: Tensor,
    labels: Tensor,
    truth: Tensor,
    positive: Tensor,
    counted: Tensor,
) -> QueryErrors:
    """Errors of queries: class of all that count, box of the positive ones.

    Args:
        class_logits: (N, Q, classes), each class for itself.
        boxes: (N, Q, 4) centre and size in parts of the canvas.
        labels: (N, Q) int64 class ids of the queries' objects; read where positive only.
        truth: (N, Q, 4) their boxes; read where positive only.
        positive: (N, Q) bool, whether a query has an object.
        counted: (N, Q) bool, whether it takes part at all.
    """
    boxes = boxes.float()
    # Elsewhere a box is compared with itself: a finite loss whose gradient the mask takes away without leaving a NaN.
    safe = torch.where(positive[..., None], truth.float(), boxes.detach())
    corners, wanted = from_center_size(boxes), from_center_size(safe)
    quality = torch.where(positive, paired_iou(corners.detach(), wanted), 0.0)
    score = varifocal_loss(class_logits, labels, quality, positive)
    giou = generalized_box_iou_loss(corners, wanted, reduction="none")
    return QueryErrors(
        classification=torch.where(counted, score, 0.0).sum(),
        box=BOX_WEIGHT * torch.where(positive[..., None], (boxes - safe).abs(), 0.0).sum(),
        giou=GIOU_WEIGHT * torch.where(positive, giou, 0.0).sum(),
    )


def varifocal_loss(
    class_logits: Tensor, labels: Tensor, quality: Tensor, positive: Tensor, *, alpha: float = 0.75, gamma: float = 2.0
) -> Tensor:
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
