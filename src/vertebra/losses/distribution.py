"""Losses of boxes whose sides are predicted as distributions, weighted by how well a location is to know its object."""

from __future__ import annotations

import torch
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss


def expected_bin(logits: Tensor) -> Tensor:
    """The mean of distributions over the bins 0, 1, 2 …

    Args:
        logits: (..., bins).

    Returns:
        (...) float32 from 0 to bins - 1.
    """
    bins = torch.arange(logits.shape[-1], dtype=torch.float32, device=logits.device)
    return (logits.float().softmax(dim=-1) * bins).sum(dim=-1)


def distribution_focal_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """Cross-entropy with the two bins on either side of the truth, the nearer of which weighs more.

    A truth of 2.25 is 0.75 of bin 2 and 0.25 of bin 3. Li et al., Generalized Focal Loss, NeurIPS 2020, arXiv
    2006.04388, equation 6.

    Args:
        logits: (..., bins), two bins or more.
        truth: (...) in bins; what lies outside is brought to the first or the last one.

    Returns:
        (...) float32.
    """
    last = logits.shape[-1] - 1
    wanted = truth.float().clamp(min=0, max=last)
    lower = wanted.detach().floor().clamp(max=last - 1)
    share = wanted - lower
    chances = logits.float().log_softmax(dim=-1)
    index = lower.long()[..., None]
    below, above = chances.gather(-1, index)[..., 0], chances.gather(-1, index + 1)[..., 0]
    return -((1 - share) * below + share * above)


def weighted_distribution_sum(logits: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """() `distribution_focal_loss`, the mean of a box's four sides, summed over boxes by their weight.

    Args:
        logits: (N, A, 4, bins).
        truth: (N, A, 4) in bins; read where the weight is not 0.
        weight: (N, A), without gradient.
    """
    loss = distribution_focal_loss(logits, torch.where(weight[..., None] > 0, truth, 0.0))
    return (weight * loss.mean(dim=-1)).sum()


def weighted_giou_sum(boxes: Tensor, truth: Tensor, weight: Tensor) -> Tensor:
    """() generalised IoU loss (1 - GIoU), summed over boxes by their weight.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv 1902.09630.

    Args:
        boxes: (N, A, 4) xyxy as predicted.
        truth: (N, A, 4) xyxy; read where the weight is not 0.
        weight: (N, A), without gradient.
    """
    boxes = boxes.float()
    # Elsewhere a box is compared with itself: a finite loss whose gradient the weight takes away without leaving a NaN.
    safe = torch.where(weight[..., None] > 0, truth.float(), boxes.detach())
    loss: Tensor = generalized_box_iou_loss(boxes, safe, reduction="none")
    return (weight * loss).sum()
