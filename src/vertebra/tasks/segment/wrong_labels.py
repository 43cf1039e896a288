"""Regions of masks that are likely wrong (numpy only).

The unit is a connected region whose pixels are predicted as other classes than annotated, without its thin parts, so that an
inaccurate outline is no entry. Its surprise is the negative logarithm of the mean probability of the annotated class, times a
power of its size. Listed are the regions with the largest surprise: those far above the usual one, which is that of the model's
errors; where there are few regions, those whose predicted class reaches its mean probability on the pixels annotated with it, as in
confident learning (`vertebra.tasks.confident_learning`). Power and limit were chosen by `benchmarks/wrong_masks.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.annotations.connected_components import connected_components, opened
from vertebra.tasks.confident_learning import likeliest_first
from vertebra.tasks.diagnosis import LikelyWrongLabel
from vertebra.tasks.segment.boundary import boundary_distance
from vertebra.tasks.segment.pixel_errors import ComparedPixels

MIN_PROBABILITY = 1e-3
SIZE_POWER = 0.3  # of a region's share of the image, in its surprise
OUTLIER = 5.0  # median absolute deviations above the median
MIN_REGIONS = 20  # from which on the usual surprise is known
ROUNDING = 1e-6  # of probabilities in float32
MIN_SHARE = 0.001  # of an image's pixels in a region
MIN_SHARE_WITHOUT_PROBABILITIES = 0.01


@dataclass(frozen=True, eq=False)
class DoubtedRegions:
    """The regions of one image whose pixels are predicted as other classes than annotated.

    A state is a class; for overlapping classes 2 k is that class k is absent, 2 k + 1 that it is present.

    Attributes:
        states: (n, 2) int64, the annotated state and the one that is predicted on most of the region.
        areas: (n,) of each region, in pixels.
        boxes: (n, 4) around them.
        probabilities: (n, 2) mean probabilities of both states; 0 and 1 without probabilities.
        counted: number of pixels of the image that are not ignored.
        state_totals: (2, S) pixels annotated with each state, and the sum of its probability there; zeros without probabilities.
    """

    states: np.ndarray
    areas: np.ndarray
    boxes: np.ndarray
    probabilities: np.ndarray
    counted: int
    state_totals: np.ndarray


def doubted_regions(pixels: ComparedPixels, probabilities: np.ndarray | None, classes: int) -> DoubtedRegions:
    """The regions of an image that contradict its mask.

    Args:
        pixels: of the image.
        probabilities: (K, H, W), or None.
        classes: their number.
    """
    overlapping = pixels.true.ndim == 3
    states = 2 * classes if overlapping else classes
    totals = np.zeros((2, states))
    parts = []
    for true, predicted, counted, given_p, predicted_p in _layers(pixels, probabilities):
        if given_p is not None:
            sums = [np.bincount(true[counted], weights, minlength=states) for weights in (None, given_p[counted])]
            totals += np.stack(sums)
        parts.append(_regions_of_layer(true, predicted, counted, (given_p, predicted_p), states))
    of_states, sizes, boxes, means = (np.concatenate(values) for values in zip(*parts, strict=True))
    total = int(pixels.counted[0].sum() if overlapping else pixels.counted.sum())
    return DoubtedRegions(of_states, sizes, boxes, means, total, totals)


Layer = tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray | None, np.ndarray | None]


def _layers(pixels: ComparedPixels, probabilities: np.ndarray | None) -> Iterator[Layer]:
    """Annotated states, predicted states, counted pixels, and the probabilities of both states, each (H, W); of the image, or of
    each of overlapping classes."""
    if pixels.true.ndim == 2:
        true, predicted = (
            np.where(pixels.counted, mask, 0).astype(np.int64) for mask in (pixels.true, pixels.predicted)
        )
        given_p = predicted_p = None
        if probabilities is not None:
            given_p, predicted_p = (
                np.take_along_axis(probabilities, mask[None], axis=0)[0] for mask in (true, predicted)
            )
        yield true, predicted, pixels.counted, given_p, predicted_p
        return
    for k, (true, predicted, counted) in enumerate(zip(pixels.true, pixels.predicted, pixels.counted, strict=True)):
        given_p = predicted_p = None
        if probabilities is not None:
            given_p, predicted_p = (
                np.where(mask, probabilities[k], 1 - probabilities[k]) for mask in (true, predicted)
            )
        yield true.astype(np.int64) + 2 * k, predicted.astype(np.int64) + 2 * k, counted, given_p, predicted_p


def _regions_of_layer(
    true: np.ndarray,
    predicted: np.ndarray,
    counted: np.ndarray,
    probabilities: tuple[np.ndarray | None, np.ndarray | None],
    states: int,
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """States, pixels, boxes and probabilities of the regions of one layer."""
    radius = max(1, boundary_distance((true.shape[0], true.shape[1])) // 2)
    codes = np.where(counted & (true != predicted), true, -1)
    components = connected_components(np.where(opened(codes, radius), codes, -1))
    rows, columns = np.nonzero(components >= 0)
    numbers = components[rows, columns]
    count = int(numbers.max(initial=-1)) + 1
    if not count:
        return np.zeros((0, 2), dtype=np.int64), np.zeros(0, dtype=np.int64), np.zeros((0, 4)), np.zeros((0, 2))
    sizes = np.bincount(numbers)
    by_class = np.bincount(numbers * states + predicted[rows, columns], minlength=count * states).reshape(count, states)
    top = by_class.argmax(axis=1)
    annotated = np.zeros(count, dtype=np.int64)
    annotated[numbers] = true[rows, columns]
    boxes = np.full((count, 4), -np.inf)
    for side, values in enumerate((-columns, -rows, columns, rows)):
        np.maximum.at(boxes[:, side], numbers, values)
    boxes = boxes * (-1, -1, 1, 1) + (0, 0, 1, 1)
    means = np.tile([0.0, 1.0], (count, 1))
    given_p, predicted_p = probabilities
    if given_p is not None and predicted_p is not None:
        right = predicted[rows, columns] == top[numbers]
        means[:, 0] = np.bincount(numbers, given_p[rows, columns]) / sizes
        means[:, 1] = np.bincount(numbers[right], predicted_p[rows, columns][right], minlength=count) / by_class.max(
            axis=1
        )
    return np.stack([annotated, top], axis=1), sizes, boxes, means


def wrong_regions(images: Sequence[DoubtedRegions], state_names: Sequence[str]) -> list[LikelyWrongLabel]:
    """The regions in which the model contradicts the mask far more than it usually does.

    Args:
        images: all of them, with probabilities or without.
        state_names: (S,) of the states.
    """
    if not images:
        return []
    totals = np.sum([image.state_totals for image in images], axis=0)
    rows = np.repeat(np.arange(len(images)), [len(image.areas) for image in images])
    shares = np.concatenate([image.areas / max(image.counted, 1) for image in images])
    states, boxes, probabilities = (
        np.concatenate([getattr(image, name) for image in images]) for name in ("states", "boxes", "probabilities")
    )
    given, predicted = probabilities.T
    surprise = -np.log(np.maximum(given, MIN_PROBABILITY)) * shares**SIZE_POWER
    large = shares >= (MIN_SHARE if totals.any() else MIN_SHARE_WITHOUT_PROBABILITIES)
    usual = np.where(totals[0] > 0, totals[1] / np.maximum(totals[0], 1), 0)[states[:, 1]]
    listed = large & _outliers(surprise, large, predicted >= usual - ROUNDING)
    entries = []
    for region in np.flatnonzero(listed).tolist():
        labeled, other = (state_names[state] for state in states[region])
        text = f"labeled {labeled}, predicted {other} ({predicted[region]:.2f}) on {shares[region]:.1%} of the pixels"
        left, top, right, bottom = boxes[region].tolist()
        confidence = -float(np.expm1(-surprise[region]))
        entries.append(LikelyWrongLabel(int(rows[region]), confidence, text, (left, top, right, bottom)))
    return likeliest_first(entries)


def _outliers(surprise: np.ndarray, large: np.ndarray, confident: np.ndarray) -> np.ndarray:
    """(n,) bool: of many large regions those that are outliers of their surprise, since the others are the model's own errors; of
    few ones those that are predicted with confidence."""
    if large.sum() < MIN_REGIONS:
        return confident
    median = np.median(surprise[large])
    limit = median + OUTLIER * np.median(np.abs(surprise[large] - median))
    return np.asarray(surprise >= limit)
