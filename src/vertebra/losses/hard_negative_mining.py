"""SSD's classification loss with hard negative mining."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.losses.detection import positives
from vertebra.losses.loss_term import LossTerm
from vertebra.losses.scope import exclusive_cross_entropy


def hard_negatives(
    loss: Float[Tensor, "n a"], positive: Bool[Tensor, "n a"], ignored: Bool[Tensor, "n a"], ratio: float
) -> Bool[Tensor, "n a"]:
    """The negative candidates that count: those of each image with the greatest loss, ``ratio`` times as many as it has positive
    ones; in an image without positive ones as many as for a single one.

    Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325, section 2.2.

    Args:
        loss: (N, A), 0 or more.
        positive, ignored: (N, A) bool; the others are negative.
        ratio: number of negative ones for each positive one.

    Returns:
        (N, A) bool.
    """
    negative = ~positive & ~ignored
    count = (positive.sum(dim=1, keepdim=True).clamp(min=1) * ratio).floor()
    rank = torch.where(negative, loss.detach(), -1.0).argsort(dim=1, descending=True).argsort(dim=1)
    return negative & (rank < count)


def mined_class_term(
    logits: Float[Tensor, "n a k"],
    labels: Int[Tensor, "n a"],
    positive: Bool[Tensor, "n a"],
    ignored: Bool[Tensor, "n a"],
    ratio: float,
    exhaustive: Bool[Tensor, "n c"] | None = None,
) -> LossTerm:
    """Softmax cross entropy of the positive candidates and the `hard_negatives`, divided by the number of positive ones.

    Args:
        logits: (N, A, classes + 1), the background last.
        labels: (N, A) int64 class ids; read where positive only.
        positive, ignored: (N, A) bool; the others are negative.
        ratio: number of negative ones for each positive one.
        exhaustive: (N, classes) bool, see `vertebra.losses.scope.exclusive_cross_entropy`.
    """
    ground_truth = torch.where(positive, labels, logits.shape[-1] - 1)
    loss = exclusive_cross_entropy(logits, ground_truth, exhaustive)
    counted = positive | hard_negatives(loss, positive, ignored, ratio)
    return LossTerm(torch.where(counted, loss, 0).sum(), positives(positive))
