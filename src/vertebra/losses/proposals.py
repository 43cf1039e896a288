"""Losses of two-stage detectors, over samples of anchors and of proposals."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.losses.loss_term import LossTerm
from vertebra.losses.scope import exclusive_cross_entropy


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
    logits: Float[Tensor, "n p k"],
    labels: Int[Tensor, "n p"],
    counted: Bool[Tensor, "n p"],
    exhaustive: Bool[Tensor, "n c"] | None = None,
) -> LossTerm:
    """Softmax cross entropy over the classes and, last, the background.

    Args:
        logits: (N, P, classes + 1).
        labels: (N, P) int64, classes for background.
        counted: (N, P) bool.
        exhaustive: (N, classes) bool, see `vertebra.losses.scope.exclusive_cross_entropy`.
    """
    loss = exclusive_cross_entropy(logits, labels, exhaustive)
    return LossTerm(torch.where(counted, loss, 0).sum(), counted.sum().float())
