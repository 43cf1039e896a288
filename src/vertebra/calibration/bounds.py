"""Tests of a mean on independent images, valid for any number of images (numpy only).

A test asks whether the mean of numbers from 0 to 1 is above a limit; it wrongly answers no with a probability of at most
``error``.
"""

from __future__ import annotations

import math

import numpy as np


def allowed_misses(images: int, limit: float, error: float) -> int:
    """How many of some images may be missed so that the probability of a miss is at most ``limit``, by the binomial distribution.

    Exact: the largest k for which k or fewer misses would have at most the probability ``error`` if ``limit`` were exceeded.

    Args:
        images: number of images.
        limit, error: between 0 and 1.

    Returns:
        -1 if there are too few images for any.
    """
    if images == 0:
        return -1
    counts = np.arange(images + 1)
    log_factorials = np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, images + 1)))])
    ways = log_factorials[-1] - log_factorials - log_factorials[::-1]
    cumulative = np.cumsum(np.exp(ways + counts * math.log(limit) + (images - counts) * math.log1p(-limit)))
    return int(np.searchsorted(cumulative, error, side="right")) - 1


def betting_p_values(losses: np.ndarray, limit: float, error: float) -> np.ndarray:
    """P-values of the hypotheses that means are at least ``limit``, by betting against them.

    The capital of a gambler who bets on losses below the limit, with stakes that depend on earlier images only, is a
    supermartingale under the hypothesis; its inverse is a p-value (Ville's inequality). Stakes are those of Waudby-Smith and
    Ramdas, Estimating means of bounded random variables by betting, JRSS B 2023, arXiv 2010.09686, section 3.2, up to 1 as in Bates
    et al., Distribution-free, risk-controlling prediction sets, JACM 2021, arXiv 2101.02703.

    Args:
        losses: (C, n), n independent losses from 0 to 1 for each of C hypotheses, in an order that does not depend on them.
        limit: between 0 and 1.
        error: the level at which hypotheses will be rejected; it tunes the stakes.

    Returns:
        (C,)
    """
    count = losses.shape[1]
    if count == 0:
        return np.ones(len(losses))
    seen = np.arange(1, count + 1)
    means = (0.5 + np.cumsum(losses, axis=1)) / (seen + 1)
    variances = (0.25 + np.cumsum((losses - means) ** 2, axis=1)) / (seen + 1)
    before = np.concatenate([np.full((len(losses), 1), 0.25), variances[:, :-1]], axis=1)
    stakes = np.minimum(1.0, np.sqrt(2 * math.log(1 / error) / (count * before)))
    capital = np.cumsum(np.log1p(-stakes * (losses - limit)), axis=1).max(axis=1)
    p_values: np.ndarray = np.exp(-np.maximum(capital, 0))
    return p_values


def images_needed(limit: float, error: float, *, binary: bool) -> int:
    """The smallest number of images, all without a loss, with which a mean is shown to be at most ``limit``.

    Args:
        limit, error: between 0 and 1.
        binary: whether losses are 0 or 1, for `allowed_misses`; else for `betting_p_values`.
    """

    def enough(count: int) -> bool:
        if binary:
            return allowed_misses(count, limit, error) >= 0
        return bool(betting_p_values(np.zeros((1, count)), limit, error)[0] <= error)

    high = 1
    while not enough(high):
        high *= 2
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high
