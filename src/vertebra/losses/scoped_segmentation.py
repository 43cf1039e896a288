"""Losses of pixels of exclusive classes of which not all are annotated.

A pixel of none of the annotated classes may be any of the others, so that its loss is that of the sum of their probabilities, after
Shi et al., Marginal loss and exclusion loss for partially supervised multi-organ segmentation, Medical Image Analysis 70, 2021,
arXiv 2007.03868. Differences: logits of classes that are not annotated are constants, so that their gradient is 0; without the
exclusion loss.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor

from vertebra.losses.loss_term import LossTerm
from vertebra.losses.segmentation import ohem_pixels

LOWEST = -1e4  # a logarithm that adds nothing; infinity has no gradient


class ScopedPixels(NamedTuple):
    """Predicted and true pixels.

    Attributes:
        log_shares: (N, K, H, W), logarithms of the probabilities.
        log_target: (N, H, W), that of the true class, or of all classes that are not annotated.
        classes: (N, H, W) int64, the true class; 0 where ``named`` is False.
        named: (N, H, W) bool, the pixels of an annotated class.
        counted: (N, H, W) bool, the pixels that are not ignored.
        known: (N, K, 1, 1) bool, the annotated classes.
    """

    log_shares: Tensor
    log_target: Tensor
    classes: Tensor
    named: Tensor
    counted: Tensor
    known: Tensor

    @property
    def probabilities(self) -> Float[Tensor, "n k h w"]:
        """(N, K, H, W), 0 where a pixel does not count."""
        return self.log_shares.exp() * self.counted[:, None]

    @property
    def ground_truth(self) -> Float[Tensor, "n k h w"]:
        """(N, K, H, W) of 0 and 1; all 0 for a pixel of no annotated class."""
        layers = F.one_hot(self.classes, self.log_shares.shape[1]).permute(0, 3, 1, 2)
        return (layers * self.named[:, None]).to(self.log_shares.dtype)


def scoped_pixels(
    logits: Float[Tensor, "n k h w"], masks: Int[Tensor, "n h w"], exhaustive: Bool[Tensor, "n k"], ignore_index: int
) -> ScopedPixels:
    """Compares logits with masks.

    Args:
        logits: (N, K, H, W).
        masks: (N, H, W) int64, class ids; any other value for pixels of no annotated class.
        exhaustive: (N, K) bool, the annotated classes of each image.
        ignore_index: pixels that do not count.
    """
    known = exhaustive[:, :, None, None]
    log_shares = torch.where(known, logits, logits.detach()).log_softmax(dim=1)
    counted = masks != ignore_index
    named = counted & (masks < logits.shape[1])
    classes = torch.where(named, masks, 0)
    rest = torch.where(known, LOWEST, log_shares).logsumexp(dim=1)
    log_target = torch.where(named, log_shares.gather(1, classes[:, None])[:, 0], rest)
    return ScopedPixels(log_shares, log_target, classes, named, counted, known)


def scoped_cross_entropy(
    pixels: ScopedPixels,
    *,
    class_weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
    ohem_fraction: float = 1.0,
) -> LossTerm:
    """Softmax cross entropy, see `vertebra.losses.segmentation.pixel_cross_entropy` for the options.

    The label of a pixel of an annotated class is smoothed over the annotated classes. A pixel of none has the mean weight of the
    others.
    """
    losses = -pixels.log_target
    if label_smoothing:
        spread = -(pixels.log_shares * pixels.known).sum(dim=1) / pixels.known.sum(dim=1).clamp(min=1)
        smooth = (1 - label_smoothing) * losses + label_smoothing * spread
        losses = torch.where(pixels.named, smooth, losses)
    weights = pixels.counted.float()
    if class_weights is not None:
        rest = ~pixels.known[:, :, 0]
        mean = (rest * class_weights[:, None]).sum(dim=1) / rest.sum(dim=1).clamp(min=1)
        weights = weights * torch.where(pixels.named, class_weights[pixels.classes], mean[..., None])
    return ohem_pixels(torch.where(pixels.counted, losses, 0.0) * weights, weights, ohem_fraction)
