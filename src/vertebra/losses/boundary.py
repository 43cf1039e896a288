"""The boundary loss: one minus the F1 score of the classes' outlines."""

from __future__ import annotations

import torch.nn.functional as F
from jaxtyping import Float, Num
from torch import Tensor

from vertebra.losses.loss_term import LossTerm


def boundary(
    probabilities: Float[Tensor, "n k h w"],
    ground_truth: Num[Tensor, "n k h w"],
    window: int = 5,
    smooth: float = 1e-3,
) -> LossTerm:
    """One minus the F1 score of the outlines of each class in each image with an outline of it.

    Bokhovkin and Burnaev, Boundary Loss for Remote Sensing Imagery Semantic Segmentation, ISNN 2019, arXiv 1905.07852.
    The outline of a class are its pixels next to pixels of other classes; a pixel within ``window`` // 2 pixels of the other
    outline is right.

    Args:
        probabilities: (N, K, H, W), 0 where a pixel does not count.
        ground_truth: (N, K, H, W) of 0 and 1, 0 where a pixel does not count.
        window: side of the square in which outlines match, in pixels; odd.

    Returns:
        The sum over images and classes, and their number.
    """
    predicted, real = outline(probabilities), outline(ground_truth.float())
    near_real, near_predicted = (F.max_pool2d(line, window, 1, window // 2) for line in (real, predicted))
    precision = ((predicted * near_real).sum(dim=(2, 3)) + smooth) / (predicted.sum(dim=(2, 3)) + smooth)
    recall = ((real * near_predicted).sum(dim=(2, 3)) + smooth) / (real.sum(dim=(2, 3)) + smooth)
    score = 2 * precision * recall / (precision + recall)
    shown = (real.sum(dim=(2, 3)) > 0).float()
    return LossTerm(((1 - score) * shown).sum(), shown.sum())


def outline(maps: Float[Tensor, "n k h w"]) -> Float[Tensor, "n k h w"]:
    """The inner outline of each class: how far the smallest of a pixel's neighbors is below it.

    Args:
        maps: (N, K, H, W) in 0..1.
    """
    rest = 1 - maps
    return F.max_pool2d(rest, 3, 1, 1) - rest
