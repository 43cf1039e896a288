"""Images whose masks are likely wrong (numpy only).

With probabilities, images are ranked as in Lad and Mueller, Estimating Label Quality and Errors in Semantic Segmentation Data via
Any Model, 2023, arXiv 2307.05080: by the soft minimum, over the pixels, of the probability of the annotated class. Differences:
pixels near a boundary are left out; and an image is listed if some of its pixels are confidently of another class, by the class
thresholds of confident learning.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.tasks.confident_learning import likeliest_first
from vertebra.tasks.diagnosis import LikelyWrongLabel
from vertebra.tasks.segment.pixel_errors import ComparedPixels

TEMPERATURE = 0.1
BINS = 50  # of the probability of a wrongly predicted class
MIN_SHARE = 0.001  # of an image's pixels that contradict its mask
MIN_SHARE_WITHOUT_PROBABILITIES = 0.01


@dataclass(frozen=True, eq=False)
class PixelDoubts:
    """The wrong pixels of one image that are not near a boundary.

    A state is a class; for overlapping classes 2 k is that class k is absent, 2 k + 1 that it is present.

    Attributes:
        codes: (n,) int64, (annotated state * S + predicted state) * BINS + bin of the latter's probability.
        counts: (n,) how many there are of each.
        counted: number of pixels of the image that are not ignored, times K for overlapping classes.
        doubt: one less the soft minimum of the probability of the annotated state; without probabilities the share of wrong pixels.
        state_totals: (2, S) pixels annotated with each state, and the sum of its probability there; zeros without probabilities.
    """

    codes: np.ndarray
    counts: np.ndarray
    counted: int
    doubt: float
    state_totals: np.ndarray


def pixel_doubts(pixels: ComparedPixels, probabilities: np.ndarray | None, classes: int) -> PixelDoubts:
    """What contradicts the mask of an image.

    Args:
        pixels: of the image.
        probabilities: (K, H, W), or None.
        classes: their number.
    """
    overlapping = pixels.true.ndim == 3
    states = 2 * classes if overlapping else classes
    judged = pixels.counted & ~pixels.near
    true, predicted = (mask[judged].astype(np.int64) for mask in (pixels.true, pixels.predicted))
    given_p = predicted_p = None
    if overlapping:
        if probabilities is not None:
            present = probabilities[judged]
            given_p, predicted_p = (np.where(state, present, 1 - present) for state in (true, predicted))
        layers = np.repeat(np.arange(classes), np.count_nonzero(judged, axis=(1, 2)))
        true, predicted = true + 2 * layers, predicted + 2 * layers
    elif probabilities is not None:
        rows, columns = np.nonzero(judged)
        given_p, predicted_p = (probabilities[state, rows, columns] for state in (true, predicted))
    wrong = true != predicted
    bins = np.full(int(wrong.sum()), BINS - 1)
    totals = np.zeros((2, states))
    doubt = float(wrong.mean()) if len(wrong) else 0.0
    if given_p is not None and predicted_p is not None:
        bins = np.minimum((predicted_p[wrong] * BINS).astype(np.int64), BINS - 1)
        totals = np.stack([np.bincount(true, weights, minlength=states) for weights in (None, given_p)])
        doubt = 1 - soft_minimum(given_p)
    codes, counts = np.unique((true[wrong] * states + predicted[wrong]) * BINS + bins, return_counts=True)
    return PixelDoubts(codes, counts, int(pixels.counted.sum()), doubt, totals)


def soft_minimum(values: np.ndarray) -> float:
    """The mean of values (N,) from 0 to 1, weighted by exp(-value / 0.1); 1 without values."""
    if not len(values):
        return 1.0
    weights = np.exp((values.min() - values.astype(np.float64)) / TEMPERATURE)
    return float((weights * values).sum() / weights.sum())


def wrong_masks(images: Sequence[PixelDoubts], state_names: Sequence[str]) -> list[LikelyWrongLabel]:
    """The images whose mask the model contradicts with confidence on a part of it.

    Args:
        images: all of them, with probabilities or without.
        state_names: (S,) of the states.
    """
    states = len(state_names)
    counts, totals = np.sum([image.state_totals for image in images], axis=0) if images else np.zeros((2, states))
    thresholds = np.where(counts > 0, totals / np.maximum(counts, 1), 0)
    min_share = MIN_SHARE if counts.any() else MIN_SHARE_WITHOUT_PROBABILITIES
    listed = []
    for row, image in enumerate(images):
        pairs, bins = np.divmod(image.codes, BINS)
        confident = (bins + 1) / BINS >= thresholds[pairs % states]
        pixels = np.bincount(pairs[confident], image.counts[confident], minlength=1)
        pair = int(pixels.argmax())
        share = pixels[pair] / max(image.counted, 1)
        if share >= min_share:
            labeled, predicted = state_names[pair // states], state_names[pair % states]
            text = f"labeled {labeled}, predicted {predicted} on {share:.1%} of the pixels"
            listed.append(LikelyWrongLabel(row, image.doubt, text))
    return likeliest_first(listed)
