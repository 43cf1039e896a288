"""Losses of the masks of objects, each a sum over the objects with their number as its count."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from vertebra.losses.loss_term import LossTerm


def mask_term(
    logits: Float[Tensor, "n d s s"], shares: Float[Tensor, "n d s s"], known: Bool[Tensor, "n d"]
) -> LossTerm:
    """Binary cross-entropy of each cell with the share of it that the object covers, the mean over an object's cells.

    He et al., Mask R-CNN, ICCV 2017, arXiv 1703.06870, section 3; difference: shares instead of 0 and 1, from which the border
    inside a cell is learned.

    Args:
        logits: (N, D, S, S) of the objects' classes.
        shares: (N, D, S, S) in 0..1.
        known: (N, D) bool, which objects count.
    """
    error = F.binary_cross_entropy_with_logits(logits.float(), shares, reduction="none").mean(dim=(-2, -1))
    return LossTerm(torch.where(known, error, 0).sum(), known.sum().float())


def soft_mask_term(
    logits: Float[Tensor, "n d s s"], teacher: Float[Tensor, "n d s s"], known: Bool[Tensor, "n d"]
) -> LossTerm:
    """Divergence of each cell from the teacher's, the mean over an object's cells; 0 where both agree."""
    expected = teacher.float().sigmoid()
    entropy = F.binary_cross_entropy_with_logits(teacher.float(), expected, reduction="none").mean(dim=(-2, -1))
    term = mask_term(logits, expected, known)
    return LossTerm(term.sum - torch.where(known, entropy, 0).sum(), term.count)


def dice_term(
    logits: Float[Tensor, "n d s s"], shares: Float[Tensor, "n d s s"], known: Bool[Tensor, "n d"]
) -> LossTerm:
    """One minus the Dice coefficient of each mask with the shares of its cells.

    Milletari et al., V-Net, 3DV 2016, arXiv 1606.04797; with squares in the denominator, it is 0 exactly where probabilities equal
    shares.

    Args:
        logits: (N, D, S, S) of the objects' classes.
        shares: (N, D, S, S) in 0..1.
        known: (N, D) bool, which objects count.
    """
    masks = logits.float().sigmoid()
    overlap = (masks * shares).sum(dim=(-2, -1))
    total = (masks.square() + shares.square()).sum(dim=(-2, -1))
    error = 1 - 2 * overlap / total.clamp(min=1e-6)
    return LossTerm(torch.where(known, error, 0).sum(), known.sum().float())
