"""Losses of detectors with an objectness score, such as YOLOX."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.geometry.giou import paired_iou
from vertebra.losses.detection import positives
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.scope import counted_classes


def objectness_term(
    logits: Float[Tensor, "n a"], positive: Bool[Tensor, "n a"], ignored: Bool[Tensor, "n a"]
) -> LossTerm:
    """Binary cross-entropy of the objectness (whether a location is positive), over all locations that are not ignored.

    Args:
        logits: (N, A).
        positive: (N, A) bool.
        ignored: (N, A) bool.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), positive.float(), reduction="none")
    return LossTerm(torch.where(ignored, 0.0, loss).sum(), positives(positive))


def overlap_score_term(
    class_logits: Float[Tensor, "n a k"],
    labels: Int[Tensor, "n a"],
    overlap: Float[Tensor, "n a"],
    positive: Bool[Tensor, "n a"],
    exhaustive: Bool[Tensor, "n k"] | None = None,
) -> LossTerm:
    """Binary cross-entropy of the positive locations' classes; the target of the right class is the IoU of the box.

    Args:
        class_logits: (N, A, classes).
        labels: (N, A) int64; read where positive only.
        overlap: (N, A) IoU of each location's box with its object, without gradient.
        positive: (N, A) bool.
        exhaustive: (N, K) bool, the classes of which all objects are annotated, see `vertebra.losses.scope`; None for all.
    """
    classes = torch.arange(class_logits.shape[-1], device=class_logits.device)
    is_class = labels[..., None] == classes
    expected = torch.where(is_class, overlap[..., None].float(), 0.0)
    loss = F.binary_cross_entropy_with_logits(class_logits.float(), expected, reduction="none")
    counted = counted_classes(is_class, exhaustive)
    loss = loss if counted is None else torch.where(counted, loss, 0.0)
    return LossTerm(torch.where(positive, loss.sum(dim=-1), 0.0).sum(), positives(positive))


def squared_iou_term(
    boxes: Float[Tensor, "n a 4"], ground_truth: Float[Tensor, "n a 4"], positive: Bool[Tensor, "n a"]
) -> LossTerm:
    """1 - IoU squared of the positive locations' boxes.

    Args:
        boxes: (N, A, 4) xyxy as predicted.
        ground_truth: (N, A, 4) xyxy; read where positive only.
        positive: (N, A) bool.
    """
    boxes = boxes.float()
    # elsewhere a box is compared with itself: the loss is finite, and masking its gradient gives no NaN
    safe = torch.where(positive[..., None], ground_truth.float(), boxes.detach())
    loss = 1 - paired_iou(boxes, safe).square()
    return LossTerm(torch.where(positive, loss, 0.0).sum(), positives(positive))
