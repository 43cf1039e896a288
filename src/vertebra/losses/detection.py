"""Loss terms of dense detectors, each a sum over anchors or locations with the number of positive ones as its count."""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from vertebra.geometry.box_coding import encode_deltas
from vertebra.losses.term import Term

BoxLoss = Literal["smooth_l1", "l1", "giou"]


def positives(positive: Tensor) -> Tensor:
    """() float32, how many candidates are positive: what every term here is divided by."""
    return positive.sum().float()


def focal_term(
    logits: Tensor, labels: Tensor, positive: Tensor, ignored: Tensor, *, alpha: float = 0.25, gamma: float = 2.0
) -> Term:
    """Sigmoid focal loss over all classes of all candidates that are not ignored.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002.

    Args:
        logits: (N, A, classes).
        labels: (N, A) int64 class ids; read where positive only.
        positive: (N, A) bool.
        ignored: (N, A) bool.
        alpha: weight of the positive class; 1 - alpha is that of the rest.
        gamma: how much easy candidates are weighted down.
    """
    classes = torch.arange(logits.shape[-1], device=logits.device)
    truth = ((labels[..., None] == classes) & positive[..., None]).float()
    loss = sigmoid_focal_loss(logits.float(), truth, alpha=alpha, gamma=gamma, reduction="none")
    return Term(torch.where(ignored[..., None], 0, loss).sum(), positives(positive))


def giou_term(boxes: Tensor, truth: Tensor, positive: Tensor) -> Term:
    """Generalised IoU loss (1 - GIoU) of the positive candidates' boxes.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv 1902.09630.

    Args:
        boxes: (N, A, 4) xyxy as predicted.
        truth: (N, A, 4) xyxy; read where positive only.
        positive: (N, A) bool.
    """
    boxes = boxes.float()
    # Elsewhere a box is compared with itself: a finite loss whose gradient the mask takes away without leaving a NaN.
    safe = torch.where(positive[..., None], truth.float(), boxes.detach())
    loss = generalized_box_iou_loss(boxes, safe, reduction="none")
    return Term(torch.where(positive, loss, 0).sum(), positives(positive))


def delta_term(
    deltas: Tensor,
    anchors: Tensor,
    truth: Tensor,
    positive: Tensor,
    *,
    beta: float,
    weights: tuple[float, float, float, float] = (1.0, 1.0, 1.0, 1.0),
) -> Term:
    """Smooth L1 loss of the positive anchors' coded boxes, summed over the four numbers.

    Girshick, Fast R-CNN, ICCV 2015, arXiv 1504.08083.

    Args:
        deltas: (N, A, 4) as predicted.
        anchors: (A, 4) xyxy.
        truth: (N, A, 4) xyxy; read where positive only.
        positive: (N, A) bool.
        beta: where the square turns into the absolute value; 0 is the L1 loss.
        weights: what the true coded boxes are multiplied by, as ``deltas`` are.
    """
    mask = positive[..., None]
    wanted = encode_deltas(torch.where(mask, truth.float(), anchors), anchors)
    wanted = wanted * wanted.new_tensor(weights)
    loss = F.smooth_l1_loss(deltas.float(), wanted, reduction="none", beta=beta)
    return Term(torch.where(mask, loss, 0).sum(), positives(positive))


def centerness(distances: Tensor) -> Tensor:
    """How near the middle of its box a location lies.

    Tian et al., FCOS, ICCV 2019, arXiv 1904.01355, equation 3.

    Args:
        distances: (..., 4) to the left, top, right and bottom side of the box.

    Returns:
        (...) in 0..1; 1 in the middle, 0 on a side and outside.
    """
    near = torch.minimum(distances[..., :2], distances[..., 2:]).clamp(min=0)
    far = torch.maximum(distances[..., :2], distances[..., 2:]).clamp(min=torch.finfo(distances.dtype).tiny)
    return (near / far).prod(dim=-1).sqrt()


def centerness_term(logits: Tensor, distances: Tensor, positive: Tensor) -> Term:
    """Binary cross-entropy between predicted and true `centerness` of the positive locations.

    Args:
        logits: (N, A).
        distances: (N, A, 4) from each location to the sides of its object; read where positive only.
        positive: (N, A) bool.
    """
    truth = centerness(torch.where(positive[..., None], distances, 1.0))
    loss = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none")
    return Term(torch.where(positive, loss, 0).sum(), positives(positive))
