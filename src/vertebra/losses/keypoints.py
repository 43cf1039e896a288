"""Losses of keypoints, each a sum over the labeled points with their number as its count."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from vertebra.losses.loss_term import LossTerm


def heatmap_term(
    maps: Float[Tensor, "*p h w"], ground_truth: Float[Tensor, "*p h w"], known: Bool[Tensor, "*p"], sigma: float
) -> LossTerm:
    """Squared error of heatmaps, relative to the error of an empty map.

    The error is summed over a map's cells and divided by that of one Gaussian, pi sigma², so that it does not depend on
    the map's size. Xiao et al., Simple Baselines for Human Pose Estimation and Tracking, ECCV 2018, arXiv 1804.06208,
    divide by the number of cells.

    Args:
        maps: (..., K, h, w) as predicted.
        ground_truth: (..., K, h, w), Gaussians of height 1.
        known: (..., K) bool, which points are labeled.
        sigma: standard deviation of the Gaussians, in cells.
    """
    error = (maps.float() - ground_truth).pow(2).sum(dim=(-2, -1)) / (math.pi * sigma**2)
    return LossTerm(torch.where(known, error, 0).sum(), known.sum().float())


def bin_term(
    logits: Float[Tensor, "*p bins"], ground_truth: Float[Tensor, "*p bins"], known: Bool[Tensor, "*p"]
) -> LossTerm:
    """Kullback-Leibler divergence from the true distribution over bins to the predicted one.

    Args:
        logits: (..., K, bins).
        ground_truth: (..., K, bins) that sums to 1.
        known: (..., K) bool, which points are labeled.
    """
    divergence = (torch.xlogy(ground_truth, ground_truth) - ground_truth * logits.float().log_softmax(dim=-1)).sum(
        dim=-1
    )
    return LossTerm(torch.where(known, divergence, 0).sum(), known.sum().float())


def residual_likelihood_term(
    points: Float[Tensor, "*p 2"],
    sigma: Float[Tensor, "*p 2"],
    ground_truth: Float[Tensor, "*p 2"],
    known: Bool[Tensor, "*p"],
    log_density: Callable[[Tensor], Tensor],
) -> LossTerm:
    """Negative log-likelihood of the ground truth under a Laplace distribution and under a learned one, both centered at the
    predicted point and scaled by the predicted sigma.

    Li et al., Human Pose Regression with Residual Log-likelihood Estimation (RLE), ICCV 2021, arXiv 2107.11291,
    equation 8. As in the authors' code, log sigma counts for each of the two densities. Counted once, sigma would grow
    without bound: the learned density adapts to any scale, and the Laplace part decreases with sigma.

    Args:
        points: (..., K, 2) x, y as predicted, in parts of the area.
        sigma: (..., K, 2) above 0, of each coordinate.
        ground_truth: (..., K, 2) x, y.
        known: (..., K) bool, which points are labeled.
        log_density: the learned density: (..., 2) errors in sigmas to (...).
    """
    points, sigma = points.float(), sigma.float()
    # an unlabeled point is compared with itself: the loss is finite, and masking it gives no NaN
    error = (torch.where(known[..., None], ground_truth.float(), points.detach()) - points) / sigma
    laplace = (error.abs() + (2 * sigma).log()).sum(dim=-1)
    learned = sigma.log().sum(dim=-1) - log_density(error)
    return LossTerm(torch.where(known, laplace + learned, 0).sum(), known.sum().float())
