"""Annotated points that are likely wrong (numpy only).

As in confident learning, the score of a predicted point is compared with the mean score of the good points of its name; it is
confident if it reaches half of that, which lists twice as many wrong points as the mean itself (`benchmarks/wrong_points.py`).
"""

from __future__ import annotations

import numpy as np

from vertebra.tasks.confident_learning import likeliest_first
from vertebra.tasks.diagnosis import LikelyWrongLabel
from vertebra.tasks.keypoints.error_kinds import GOOD_SIMILARITY, MISS, PointErrors
from vertebra.tasks.keypoints.labels import KeypointLabels

MIN_CONFIDENCE = 0.5  # of a point's score, as a share of the mean score of the good points of its name
FAR = 0.1  # of the object's length
MAX_EXCHANGED_SHARE = 0.5  # of the distances that remain when two points are exchanged


def wrong_points(errors: PointErrors, labels: KeypointLabels) -> list[LikelyWrongLabel]:
    """Points that are exchanged, such as left for right, and points far from where the model is confident that they are.

    Args:
        errors: of all images.
        labels: the points.
    """
    confident = np.nan_to_num(errors.scores, nan=-1) >= MIN_CONFIDENCE * usual_scores(errors)
    listed, exchanged = _exchanged(errors, labels, confident)
    far = confident & (errors.kinds == MISS) & (errors.relative_distances >= FAR) & ~exchanged
    for row, point in np.argwhere(far):
        score, distance = errors.scores[row, point], errors.distances[row, point]
        text = f"{labels.points[point]} is {distance:.0f} px from its prediction ({score:.2f})"
        listed.append(_entry(errors, int(row), score * (1 - errors.similarity[row, point]), text))
    return likeliest_first(listed)


def usual_scores(errors: PointErrors) -> np.ndarray:
    """The mean score (K,) of the good points of each name; infinite without one."""
    good = errors.measured & (errors.similarity >= GOOD_SIMILARITY)
    counts = good.sum(axis=0)
    totals = np.where(good, errors.scores, 0).sum(axis=0)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.inf)


def _entry(errors: PointErrors, row: int, confidence: float, text: str) -> LikelyWrongLabel:
    x1, y1, x2, y2 = errors.boxes[row].tolist()
    return LikelyWrongLabel(int(errors.images[row]), float(np.clip(confidence, 0, 1)), text, (x1, y1, x2, y2))


def _exchanged(
    errors: PointErrors, labels: KeypointLabels, confident: np.ndarray
) -> tuple[list[LikelyWrongLabel], np.ndarray]:
    """Objects with pairs of points, such as left and right, whose confident predictions fit far better if the labels of both are
    exchanged; and (M, K) bool, the points of these."""
    listed, exchanged = [], np.zeros(errors.kinds.shape, dtype=bool)
    off = errors.measured & confident & (errors.relative_distances >= FAR / 2)
    for row in np.flatnonzero(off.sum(axis=1) > 1).tolist():
        columns = np.flatnonzero(off[row])
        predicted, points = errors.predicted[row, columns], errors.points[row, columns, :2]
        distances = np.linalg.norm(predicted[:, None] - points[None], axis=-1)
        pairs = exchanged_pairs(distances, FAR * errors.lengths[row])
        if not pairs:
            continue
        names = []
        confidence = 0.0
        for first, second, fit in pairs:
            both = columns[[first, second]]
            exchanged[row, both] = True
            score = float(errors.scores[row, both].min())
            names.append(" and ".join(labels.points[point] for point in both.tolist()))
            confidence = max(confidence, score * fit)
        scores = errors.scores[row, exchanged[row]]
        listed.append(_entry(errors, row, confidence, f"{', '.join(names)} seem exchanged ({scores.min():.2f})"))
    return listed, exchanged


def exchanged_pairs(distances: np.ndarray, min_distance: float) -> list[tuple[int, int, float]]:
    """The pairs of points of an object that fit far better if both are exchanged, each point once, the best first.

    Args:
        distances: (n, n) of each prediction (rows) from each annotated point.
        min_distance: the least sum of a pair's distances as they are annotated.

    Returns:
        Both points, and the share of the pair's distances that the exchange removes.
    """
    first, second = np.triu_indices(len(distances), 1)
    given = distances[first, first] + distances[second, second]
    turned = distances[first, second] + distances[second, first]
    fit = 1 - turned / np.maximum(given, 1e-9)
    pairs: list[tuple[int, int, float]] = []
    used: set[int] = set()
    for pair in np.argsort(-fit, kind="stable").tolist():
        both = {int(first[pair]), int(second[pair])}
        if given[pair] >= min_distance and fit[pair] > 1 - MAX_EXCHANGED_SHARE and not both & used:
            used |= both
            pairs.append((int(first[pair]), int(second[pair]), float(fit[pair])))
    return pairs
