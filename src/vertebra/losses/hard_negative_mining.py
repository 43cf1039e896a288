"""SSD's loss of classes: of the many boxes that should find nothing only the worst mistaken ones count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.losses.detection import positives
from vertebra.losses.loss_term import LossTerm


def hard_negatives(
    loss: Float[Tensor, "n a"], positive: Bool[Tensor, "n a"], ignored: Bool[Tensor, "n a"], ratio: float
) -> Bool[Tensor, "n a"]:
    """Which negative candidates count: in each image the ``ratio`` times as many as it has positive ones with the greatest
    loss; in an image without any as many as for one positive, so that it teaches what is nothing.

    Liu et al., SSD: Single Shot MultiBox Detector, ECCV 2016, arXiv 1512.02325, section 2.2.

    Args:
        loss: (N, A), 0 or more.
        positive, ignored: (N, A) bool; what is neither is negative.
        ratio: how many negative ones for each positive one.

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
) -> LossTerm:
    """Softmax cross entropy of the positive candidates and of the `hard_negatives` negative ones, divided by the positive ones.

    Args:
        logits: (N, A, classes + 1), the background last.
        labels: (N, A) int64 class ids; read where positive only.
        positive, ignored: (N, A) bool; what is neither is negative.
        ratio: how many negative ones for each positive one.
    """
    ground_truth = torch.where(positive, labels, logits.shape[-1] - 1)
    loss = F.cross_entropy(logits.float().flatten(0, 1), ground_truth.flatten(), reduction="none").reshape(
        ground_truth.shape
    )
    counted = positive | hard_negatives(loss, positive, ignored, ratio)
    return LossTerm(torch.where(counted, loss, 0).sum(), positives(positive))
