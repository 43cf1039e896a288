"""Losses of two-stage detectors, over samples of anchors and of proposals."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.losses.loss_term import LossTerm


def objectness_term(
    logits: Float[Tensor, "n a"], positive: Bool[Tensor, "n a"], counted: Bool[Tensor, "n a"]
) -> LossTerm:
    """Sigmoid cross entropy of the candidates that count.

    Args:
        logits: (N, A).
        positive, counted: (N, A) bool.
    """
    loss = F.binary_cross_entropy_with_logits(logits.float(), positive.float(), reduction="none")
    return LossTerm(torch.where(counted, loss, 0).sum(), counted.sum().float())


def region_class_term(
    logits: Float[Tensor, "n p k"], labels: Int[Tensor, "n p"], counted: Bool[Tensor, "n p"]
) -> LossTerm:
    """Softmax cross entropy over the classes and, last, the background.

    Args:
        logits: (N, P, classes + 1).
        labels: (N, P) int64, classes for background.
        counted: (N, P) bool.
    """
    loss = F.cross_entropy(logits.float().flatten(0, 1), labels.flatten(), reduction="none").reshape(labels.shape)
    return LossTerm(torch.where(counted, loss, 0).sum(), counted.sum().float())
