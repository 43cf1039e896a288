"""Losses of pixels: cross entropy, focal loss and the logarithmic Dice loss, for exclusive and for overlapping classes."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Num, Shaped
from torch import Tensor
from torch.autograd.function import once_differentiable

from vertebra.losses.loss_term import LossTerm


def pixel_cross_entropy(
    log_probabilities: Float[Tensor, "n k h w"],
    masks: Int[Tensor, "n h w"],
    ignore_index: int,
    *,
    class_weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
    ohem_fraction: float = 1.0,
) -> LossTerm:
    """Softmax cross entropy of exclusive classes.

    Args:
        log_probabilities: (N, K, H, W).
        masks: (N, H, W) int64 class ids.
        ignore_index: pixels that do not count.
        class_weights: (K,) weight of each class's pixels; the sum is divided by the weights.
        label_smoothing: part of the label that is spread over all classes.
        ohem_fraction: see `ohem_pixels`.
    """
    counted = masks != ignore_index
    if class_weights is None and label_smoothing == 0 and ohem_fraction == 1:
        total = F.nll_loss(log_probabilities, masks, ignore_index=ignore_index, reduction="sum")
        return LossTerm(total, counted.sum().float())
    losses = F.cross_entropy(
        log_probabilities,
        masks,
        weight=class_weights,
        ignore_index=ignore_index,
        reduction="none",
        label_smoothing=label_smoothing,
    )
    weights = counted.float()
    if class_weights is not None:
        weights = class_weights[torch.where(counted, masks, 0)] * weights
    return ohem_pixels(losses, weights, ohem_fraction)


def pixel_binary_cross_entropy(
    logits: Float[Tensor, "n k h w"],
    masks: Num[Tensor, "n k h w"],
    ignore_index: int,
    *,
    class_weights: Float[Tensor, " k"] | None = None,
    label_smoothing: float = 0.0,
    ohem_fraction: float = 1.0,
) -> LossTerm:
    """Sigmoid cross entropy of overlapping classes: the mean over classes of each pixel.

    Args:
        logits: (N, K, H, W).
        masks: (N, K, H, W) of 0, 1 and the ignore index.
        ignore_index: see `pixel_cross_entropy`, as for the other options.
    """
    counted = masks != ignore_index
    ground_truth = torch.where(counted, masks, 0).float() * (1 - label_smoothing) + 0.5 * label_smoothing
    weights = counted.float() / logits.shape[1]
    if class_weights is not None:
        weights = weights * class_weights[:, None, None]
    losses = F.binary_cross_entropy_with_logits(logits.float(), ground_truth, reduction="none") * weights
    return ohem_pixels(losses, weights, ohem_fraction)


def ohem_pixels(losses: Float[Tensor, "*p"], weights: Num[Tensor, "*p"], share: float) -> LossTerm:
    """The sum over the pixels with the greatest losses: online hard example mining.

    Shrivastava et al., Training Region-based Object Detectors with Online Hard Example Mining, CVPR 2016, arXiv
    1604.03540; here over the pixels of a batch.

    Args:
        losses: of any shape, 0 where a pixel does not count.
        weights: of the same shape; 0 where a pixel does not count.
        share: part of the pixels that count; 1 for all.

    Returns:
        The sum of their losses, and of their weights.
    """
    if share == 1:
        return LossTerm(losses.sum(), weights.sum())
    flat, weight = losses.flatten(), weights.flatten()
    order = torch.where(weight > 0, flat.detach(), -1.0).argsort(descending=True)
    rank = torch.arange(len(order), device=order.device)
    kept = rank < (share * (weight > 0).sum()).ceil()
    return LossTerm((flat[order] * kept).sum(), (weight[order] * kept).sum())


def focal_pixels(log_probabilities: Float[Tensor, "*p"], counted: Shaped[Tensor, "*p"], gamma: float) -> LossTerm:
    """Focal loss: cross entropy with less weight on pixels that are already right.

    Lin et al., Focal Loss for Dense Object Detection, ICCV 2017, arXiv 1708.02002 (without its class weight).

    Args:
        log_probabilities: of the true class at each pixel (and class, where classes overlap), of any shape.
        counted: of the same shape, which pixels count.
        gamma: exponent; a larger one gives less weight to pixels that are already right, 0 is cross entropy.
    """
    losses = -((1 - log_probabilities.exp()).clamp(min=0) ** gamma) * log_probabilities
    return LossTerm((losses * counted).sum(), counted.sum().float())


def log_dice(
    both: Float[Tensor, "n k"], size: Float[Tensor, "n k"], ground_truth: Float[Tensor, "n k"], smooth: float = 1e-3
) -> LossTerm:
    """Logarithmic Dice loss, -log(2 |P T| / (|P| + |T|)), of each class in each image that contains it.

    Wong et al., 3D Segmentation with Exponential Logarithmic Loss for Highly Unbalanced Object Sizes, MICCAI 2018,
    arXiv 1809.00076 (here with exponent 1). Cross entropy soon drives a rare class' probability to almost 0, where
    the plain Dice loss (Milletari et al., 3DV 2016, arXiv 1606.04797) has no gradient, but its logarithm has. A class
    that is not in an image does not count there, so that the sum over images can be divided once over processes.

    Args:
        both: (N, K) sums of the probability over the pixels of the class.
        size: (N, K) sums of the probability over all pixels that count.
        ground_truth: (N, K) numbers of pixels of the class.

    Returns:
        The sum over images and classes, and their number.
    """
    shown = (ground_truth > 0).float()
    loss = ((size + ground_truth + smooth) / (2 * both + smooth)).log()
    return LossTerm((loss * shown).sum(), shown.sum())


def exclusive_dice(
    log_probabilities: Float[Tensor, "n k h w"], masks: Int[Tensor, "n h w"], counted: Bool[Tensor, "n h w"]
) -> LossTerm:
    """`log_dice` of exclusive classes.

    Sums by class use gather and scatter instead of a one-hot mask, which at full image size would cost more than the
    decoder.

    Args:
        log_probabilities: (N, K, H, W), float32 or float64.
        masks: (N, H, W) int64 class ids, 0 where a pixel does not count.
        counted: (N, H, W) bool.
    """
    both, size = _ClassSums.apply(log_probabilities, masks, counted)  # type: ignore[no-untyped-call]
    ground_truth = torch.zeros_like(both).scatter_add(1, masks.flatten(1), counted.flatten(1).to(both.dtype))
    return log_dice(both, size, ground_truth)


class _ClassSums(torch.autograd.Function):
    """(N, K) sums of each class' probability over the pixels of the class, and over all that count. Of the maps as large as
    the logits only the logarithms are kept for the gradient; the cross entropy keeps them, too."""

    @staticmethod
    def forward(ctx: Any, log_probabilities: Tensor, masks: Tensor, counted: Tensor) -> tuple[Tensor, Tensor]:
        """Both sums."""
        ctx.save_for_backward(log_probabilities, masks, counted)
        probabilities = log_probabilities.exp().mul_(counted[:, None])
        right = probabilities.gather(1, masks[:, None]).flatten(1)
        both = right.new_zeros(probabilities.shape[:2]).scatter_add_(1, masks.flatten(1), right)
        return both, probabilities.sum(dim=(2, 3))

    @staticmethod
    @once_differentiable  # type: ignore[untyped-decorator]
    def backward(ctx: Any, both: Tensor, size: Tensor) -> tuple[Tensor, None, None]:
        """With respect to the logarithms."""
        log_probabilities, masks, counted = ctx.saved_tensors
        probabilities = log_probabilities.exp().mul_(counted[:, None])
        index = masks[:, None]
        right = probabilities.gather(1, index)
        right.mul_(both.gather(1, masks.flatten(1)).reshape(right.shape))
        return probabilities.mul_(size[:, :, None, None]).scatter_add_(1, index, right), None, None


def overlapping_dice(probabilities: Float[Tensor, "n k h w"], ground_truth: Num[Tensor, "n k h w"]) -> LossTerm:
    """`log_dice` of overlapping classes.

    Args:
        probabilities: (N, K, H, W), 0 where a pixel does not count.
        ground_truth: (N, K, H, W) of 0 and 1, 0 where a pixel does not count.
    """
    both = (probabilities * ground_truth).sum(dim=(2, 3))
    return log_dice(both, probabilities.sum(dim=(2, 3)), ground_truth.sum(dim=(2, 3)))
