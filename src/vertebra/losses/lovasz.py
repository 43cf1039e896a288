"""The Lovasz loss: a differentiable surrogate of the intersection over union."""

from __future__ import annotations

import torch
from jaxtyping import Float, Num
from torch import Tensor

from vertebra.losses.loss_term import LossTerm


def lovasz(probabilities: Float[Tensor, "n k h w"], ground_truth: Num[Tensor, "n k h w"]) -> LossTerm:
    """The Lovasz-softmax loss of each class in each image that contains it.

    Berman et al., The Lovasz-Softmax Loss, CVPR 2018, arXiv 1705.08790. The errors of a class are sorted, greatest first;
    each is weighted by the growth of the Jaccard loss when its pixel becomes wrong.

    Args:
        probabilities: (N, K, H, W), 0 where a pixel does not count.
        ground_truth: (N, K, H, W) of 0 and 1, 0 where a pixel does not count.

    Returns:
        The sum over images and classes, and their number.
    """
    ground_truth = ground_truth.flatten(2).float()
    errors, order = (ground_truth - probabilities.flatten(2)).abs().sort(dim=-1, descending=True)
    weights = jaccard_steps(ground_truth.gather(-1, order))
    shown = (ground_truth.sum(dim=-1) > 0).float()
    return LossTerm(((errors * weights).sum(dim=-1) * shown).sum(), shown.sum())


def jaccard_steps(ground_truth: Float[Tensor, "*n p"]) -> Float[Tensor, "*n p"]:
    """The growth of the Jaccard loss with each further pixel that is wrong.

    For the ground truth ``[1, 0, 1]``: after the first pixel, one of the two true ones is missed, 1 - 1/2; after the second,
    there is one false positive, 1 - 1/3; after the third, 1 - 0/3. The steps are 1/2, 1/6 and 1/3.

    Args:
        ground_truth: (..., P) of 0 and 1, in the order in which the pixels become wrong.

    Returns:
        (..., P)
    """
    total = ground_truth.sum(dim=-1, keepdim=True)
    both = total - ground_truth.cumsum(dim=-1)
    either = total + (1 - ground_truth).cumsum(dim=-1)
    loss = 1 - both / either.clamp(min=1)
    return torch.cat([loss[..., :1], loss[..., 1:] - loss[..., :-1]], dim=-1)
