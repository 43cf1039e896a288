"""Losses of pixels: cross entropy and the soft Dice loss, for exclusive and for overlapping classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.losses.term import Term


def pixel_cross_entropy(logits: Tensor, masks: Tensor, ignore_index: int) -> Term:
    """Softmax cross entropy of exclusive classes.

    Args:
        logits: (N, K, H, W).
        masks: (N, H, W) int64 class ids.
        ignore_index: pixels that do not count.

    Returns:
        The sum over the pixels that count, and their number.
    """
    total = F.cross_entropy(logits.float(), masks, ignore_index=ignore_index, reduction="sum")
    return Term(total, (masks != ignore_index).sum().float())


def pixel_binary_cross_entropy(logits: Tensor, masks: Tensor, ignore_index: int) -> Term:
    """Sigmoid cross entropy of overlapping classes: the mean over classes of each pixel.

    Args:
        logits: (N, K, H, W).
        masks: (N, K, H, W) of 0, 1 and the ignore index.
    """
    counted = masks != ignore_index
    truth = torch.where(counted, masks, 0).float()
    each = F.binary_cross_entropy_with_logits(logits.float(), truth, reduction="none") * counted
    return Term(each.sum() / logits.shape[1], counted.sum().float() / logits.shape[1])


def dice(probabilities: Tensor, truth: Tensor, counted: Tensor, smooth: float = 1.0) -> Term:
    """Soft Dice loss, 1 - 2 |P T| / (|P| + |T|), of each class in each image that shows it.

    Milletari et al., V-Net, 3DV 2016, arXiv 1606.04797. Differences: squares are left out, and a class that is not in an
    image does not count there, so that the sum over images can be divided once over processes.

    Args:
        probabilities: (N, K, H, W) in 0..1.
        truth: (N, K, H, W) of 0 and 1.
        counted: (N, K or 1, H, W) bool, the pixels that count.

    Returns:
        The sum over images and classes, and how many of these there were.
    """
    inside = counted.float()
    truth = truth.float() * inside
    both = (probabilities.float() * truth).sum(dim=(2, 3))
    size = (probabilities.float() * inside).sum(dim=(2, 3)) + truth.sum(dim=(2, 3))
    shown = (truth.sum(dim=(2, 3)) > 0).float()
    loss = 1 - (2 * both + smooth) / (size + smooth)
    return Term((loss * shown).sum(), shown.sum())


def pixel_terms(logits: Tensor, masks: Tensor, ignore_index: int, exclusive: bool) -> dict[str, Term]:
    """Cross entropy and Dice of logits at the masks' own size, by name.

    Args:
        logits: (N, K, H, W).
        masks: (N, H, W) int64 where classes are exclusive, else (N, K, H, W).
    """
    logits = logits.float()
    if exclusive:
        counted = masks != ignore_index
        truth = F.one_hot(torch.where(counted, masks, 0), logits.shape[1]).permute(0, 3, 1, 2)
        return {
            "cross_entropy": pixel_cross_entropy(logits, masks, ignore_index),
            "dice": dice(logits.softmax(dim=1), truth, counted[:, None]),
        }
    counted = masks != ignore_index
    return {
        "cross_entropy": pixel_binary_cross_entropy(logits, masks, ignore_index),
        "dice": dice(logits.sigmoid(), torch.where(counted, masks, 0), counted),
    }
