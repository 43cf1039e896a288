"""Losses of quality scores, and of boxes whose sides are predicted as distributions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchvision.ops import generalized_box_iou_loss

from vertebra.losses.scope import counted_classes


def quality_score_loss(
    class_logits: Float[Tensor, "n a k"],
    labels: Int[Tensor, "n a"],
    quality: Float[Tensor, "n a"],
    positive: Bool[Tensor, "n a"],
    exhaustive: Bool[Tensor, "n k"] | None = None,
    *,
    alpha: float = 0.75,
    gamma: float = 2.0,
) -> Float[Tensor, "n a"]:
    """Binary cross-entropy: the target of the right class is the quality, that of all other classes is 0.

    Negative scores have the weight of the varifocal loss (Zhang et al., VarifocalNet, CVPR 2021, arXiv 2008.13367), which
    falls with the score. Positive scores have the weight 1 (the paper: their target), so that objects with inaccurate
    boxes, such as small and rare ones, are learned.

    Args:
        class_logits: (N, A, classes).
        labels: (N, A) int64; read where positive only.
        quality: (N, A) in 0..1, without gradient.
        positive: (N, A) bool.
        exhaustive: (N, K) bool, the classes of which all objects are annotated, see `vertebra.losses.scope`; None for all.
        alpha: weight of negative scores.
        gamma: exponent; a larger one gives less weight to easy negative scores.

    Returns:
        (N, A) float32, summed over classes.
    """
    logits = class_logits.float()
    classes = torch.arange(logits.shape[-1], device=logits.device)
    is_class = (labels[..., None] == classes) & positive[..., None]
    expected = torch.where(is_class, quality[..., None].float(), 0.0)
    weight = torch.where(is_class, 1.0, alpha * logits.detach().sigmoid() ** gamma)
    counted = counted_classes(is_class, exhaustive)
    weight = weight if counted is None else torch.where(counted, weight, 0.0)
    return F.binary_cross_entropy_with_logits(logits, expected, weight=weight, reduction="none").sum(dim=-1)


def expected_bin(logits: Float[Tensor, "*a bins"]) -> Float[Tensor, "*a"]:
    """The mean of distributions over the bins 0, 1, 2 …

    Args:
        logits: (..., bins).

    Returns:
        (...) float32 from 0 to bins - 1.
    """
    bins = torch.arange(logits.shape[-1], dtype=torch.float32, device=logits.device)
    return (logits.float().softmax(dim=-1) * bins).sum(dim=-1)


def distribution_focal_loss(logits: Float[Tensor, "*a bins"], ground_truth: Float[Tensor, "*a"]) -> Float[Tensor, "*a"]:
    """Cross-entropy with the two bins on either side of the ground truth, weighted by their distance to it.

    A value of 2.25 is 0.75 of bin 2 and 0.25 of bin 3. Li et al., Generalized Focal Loss, NeurIPS 2020, arXiv
    2006.04388, equation 6.

    Args:
        logits: (..., bins), two bins or more.
        ground_truth: (...) in bins; clamped to the first and last bin.

    Returns:
        (...) float32.
    """
    last = logits.shape[-1] - 1
    value = ground_truth.float().clamp(min=0, max=last)
    lower = value.detach().floor().clamp(max=last - 1)
    share = value - lower
    log_probabilities = logits.float().log_softmax(dim=-1)
    index = lower.long()[..., None]
    below, above = log_probabilities.gather(-1, index)[..., 0], log_probabilities.gather(-1, index + 1)[..., 0]
    return -((1 - share) * below + share * above)


def weighted_distribution_sum(
    logits: Float[Tensor, "n a 4 bins"], ground_truth: Float[Tensor, "n a 4"], weight: Float[Tensor, "n a"]
) -> Float[Tensor, ""]:
    """() `distribution_focal_loss`, the mean of a box's four sides, summed over boxes by their weight.

    Args:
        logits: (N, A, 4, bins).
        ground_truth: (N, A, 4) in bins; read where the weight is not 0.
        weight: (N, A), without gradient.
    """
    loss = distribution_focal_loss(logits, torch.where(weight[..., None] > 0, ground_truth, 0.0))
    return (weight * loss.mean(dim=-1)).sum()


def weighted_giou_sum(
    boxes: Float[Tensor, "n a 4"], ground_truth: Float[Tensor, "n a 4"], weight: Float[Tensor, "n a"]
) -> Float[Tensor, ""]:
    """() generalized IoU loss (1 - GIoU), summed over boxes by their weight.

    Rezatofighi et al., Generalized Intersection over Union, CVPR 2019, arXiv 1902.09630.

    Args:
        boxes: (N, A, 4) xyxy as predicted.
        ground_truth: (N, A, 4) xyxy; read where the weight is not 0.
        weight: (N, A), without gradient.
    """
    boxes = boxes.float()
    # elsewhere a box is compared with itself: the loss is finite, and a weight of 0 gives no NaN in its gradient
    safe = torch.where(weight[..., None] > 0, ground_truth.float(), boxes.detach())
    loss: Tensor = generalized_box_iou_loss(boxes, safe, reduction="none")
    return (weight * loss).sum()
