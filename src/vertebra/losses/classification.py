"""Losses of image classification."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Num
from torch import Tensor

from vertebra.losses.loss_term import LossTerm


def cross_entropy(
    logits: Float[Tensor, "n k"], labels: Int[Tensor, " n"] | Float[Tensor, "n k"], smoothing: float = 0.0
) -> LossTerm:
    """Softmax cross entropy for exclusive classes.

    Args:
        logits: (N, K).
        labels: (N,) int64 class ids, or (N, K) probabilities of the classes.
        smoothing: part of the label that is spread over all classes (Szegedy et al., CVPR 2016, arXiv 1512.00567).

    Returns:
        The sum over images, and their number.
    """
    total = F.cross_entropy(logits.float(), labels, reduction="sum", label_smoothing=smoothing)
    return LossTerm(total, torch.tensor(float(len(labels)), device=logits.device))


def binary_cross_entropy(
    logits: Float[Tensor, "n k"],
    labels: Num[Tensor, "n k"],
    smoothing: float = 0.0,
    known: Bool[Tensor, "n k"] | None = None,
) -> LossTerm:
    """Sigmoid cross entropy for classes that can occur together: the mean over classes of each image.

    Where not all classes of an image are known, it counts as the part of an image.

    Args:
        logits: (N, K).
        labels: (N, K) of 0 to 1.
        smoothing: moves the labels from 0 and 1 towards 0.5.
        known: (N, K) bool, the classes that count; None for all.
    """
    soft = labels.float() * (1 - smoothing) + 0.5 * smoothing
    losses = F.binary_cross_entropy_with_logits(logits.float(), soft, reduction="none")
    if known is not None:
        return LossTerm(torch.where(known, losses, 0.0).mean(dim=1).sum(), known.float().mean(dim=1).sum())
    each = losses.mean(dim=1)
    return LossTerm(each.sum(), torch.tensor(float(len(labels)), device=logits.device))


def object_class_term(
    logits: Float[Tensor, "n m k"],
    values: Int[Tensor, "n m"] | Float[Tensor, "n m k"],
    known: Bool[Tensor, "n m"],
    smoothing: float = 0.0,
) -> LossTerm:
    """Cross entropy of the classes of objects; those that are not known have a loss and a gradient of 0.

    Args:
        logits: (N, M, K).
        values: (N, M) int64 class ids with softmax; or (N, M, K) of 0 and 1 with sigmoid, in the mean over the classes.
        known: (N, M) bool.
        smoothing: see `cross_entropy` and `binary_cross_entropy`.

    Returns:
        The sum over the known objects, and their number.
    """
    if values.ndim == 2:
        ids = torch.where(known, values, -1)
        total = F.cross_entropy(
            logits.float().flatten(0, 1), ids.flatten(), reduction="sum", ignore_index=-1, label_smoothing=smoothing
        )
    else:
        soft = values.float() * (1 - smoothing) + 0.5 * smoothing
        each = F.binary_cross_entropy_with_logits(logits.float(), soft, reduction="none").mean(dim=-1)
        total = torch.where(known, each, 0.0).sum()
    return LossTerm(total, known.sum().float())
