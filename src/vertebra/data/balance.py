"""How often images are drawn so that rare classes are seen more often."""

from __future__ import annotations

import numpy as np

MAX_FACTOR = 10.0  # an image is drawn at most this often for each time that an image of common classes is


def repeat_factors(presence: np.ndarray) -> np.ndarray:
    """How often each image is drawn, relative to an image of common classes.

    Gupta et al., LVIS, CVPR 2019, arXiv 1908.03195, section 5.3: an image's factor is that of its rarest class c, max(1,
    sqrt(t / f_c)), where f_c is the share of images with the class. Here t is the mean share of the classes that occur, so it
    needs no tuning, and a factor is at most `MAX_FACTOR`.

    Args:
        presence: (n, K) bool, which classes an image has.

    Returns:
        (n,) float64, at least 1.
    """
    shares = presence.mean(axis=0) if len(presence) else np.zeros(presence.shape[1])
    occurring = shares > 0
    if not occurring.any():
        return np.ones(len(presence))
    factors = np.zeros(len(shares))
    factors[occurring] = np.clip(np.sqrt(shares[occurring].mean() / shares[occurring]), 1.0, MAX_FACTOR)
    rarest: np.ndarray = np.where(presence, factors, 1.0).max(axis=1, initial=1.0)
    return rarest


def draw_rows(rows: np.ndarray, factors: np.ndarray | None, length: int, draw: np.random.Generator) -> np.ndarray:
    """Rows in random order: in rounds, each with all rows as often as their factors, whose fraction is a probability.

    Args:
        rows: (m,) int64.
        factors: (m,) float64, at least 1; None for 1 each.
        length: number of rows to draw.
        draw: the random generator.

    Returns:
        (length,) int64.
    """
    rounds: list[np.ndarray] = []
    count = 0
    while count < length:
        times = np.ones(len(rows), dtype=np.int64)
        if factors is not None:
            times = np.floor(factors).astype(np.int64) + (draw.random(len(rows)) < factors % 1)
        rounds.append(draw.permutation(np.repeat(rows, times)))
        count += len(rounds[-1])
    return np.concatenate([*rounds, np.zeros(0, dtype=np.int64)])[:length].astype(np.int64)
