"""Losses of pixels: cross entropy and the logarithmic Dice loss, for exclusive and for overlapping classes."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from vertebra.losses.term import Term


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


def log_dice(both: Tensor, size: Tensor, truth: Tensor, smooth: float = 1e-3) -> Term:
    """Logarithmic Dice loss, -log(2 |P T| / (|P| + |T|)), of each class in each image that shows it.

    Wong et al., 3D Segmentation with Exponential Logarithmic Loss for Highly Unbalanced Object Sizes, MICCAI 2018,
    arXiv 1809.00076 (here with exponent 1). Cross entropy soon drives a rare class' probability to almost nothing, and
    there the plain Dice loss (Milletari et al., 3DV 2016, arXiv 1606.04797) has no gradient; its logarithm has. A class
    that is not in an image does not count there, so that the sum over images can be divided once over processes.

    Args:
        both: (N, K) sums of the probability over the pixels that truly are of the class.
        size: (N, K) sums of the probability over all pixels that count.
        truth: (N, K) numbers of pixels that truly are of the class.

    Returns:
        The sum over images and classes, and how many of these there were.
    """
    shown = (truth > 0).float()
    loss = ((size + truth + smooth) / (2 * both + smooth)).log()
    return Term((loss * shown).sum(), shown.sum())


def exclusive_terms(logits: Tensor, masks: Tensor, ignore_index: int) -> dict[str, Term]:
    """Softmax cross entropy and Dice of exclusive classes.

    Both come from one softmax, and sums by class are gathered instead of multiplied with a one-hot mask, which at full
    image size would cost more than the decoder.

    Args:
        logits: (N, K, H, W).
        masks: (N, H, W) int64 class ids.
        ignore_index: pixels that do not count.
    """
    batch, count = logits.shape[:2]
    log = logits.float().log_softmax(dim=1)
    counted = masks != ignore_index
    total = F.nll_loss(log, masks, ignore_index=ignore_index, reduction="sum")
    probabilities = log.exp() * counted[:, None]
    classes = torch.where(counted, masks, 0)
    right = probabilities.gather(1, classes[:, None]).flatten(1)
    empty = right.new_zeros(batch, count)
    both = empty.scatter_add(1, classes.flatten(1), right)
    truth = empty.scatter_add(1, classes.flatten(1), counted.flatten(1).float())
    return {
        "cross_entropy": Term(total, counted.sum().float()),
        "dice": log_dice(both, probabilities.sum(dim=(2, 3)), truth),
    }


def overlapping_terms(logits: Tensor, masks: Tensor, ignore_index: int) -> dict[str, Term]:
    """Sigmoid cross entropy and Dice of overlapping classes.

    Args:
        logits: (N, K, H, W).
        masks: (N, K, H, W) of 0, 1 and the ignore index.
    """
    counted = masks != ignore_index
    truth = torch.where(counted, masks, 0).float()
    probabilities = logits.float().sigmoid() * counted
    both = (probabilities * truth).sum(dim=(2, 3))
    return {
        "cross_entropy": pixel_binary_cross_entropy(logits, masks, ignore_index),
        "dice": log_dice(both, probabilities.sum(dim=(2, 3)), truth.sum(dim=(2, 3))),
    }
