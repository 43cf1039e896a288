"""Annotated points that are likely wrong (numpy only).

As in confident learning, a predicted point is confident if its score reaches the mean score of the good points of its name.
"""

from __future__ import annotations

import numpy as np

from vertebra.tasks.confident_learning import likeliest_first
from vertebra.tasks.diagnosis import LikelyWrongLabel
from vertebra.tasks.keypoints.error_kinds import GOOD_SIMILARITY, MISS, PointErrors
from vertebra.tasks.keypoints.labels import KeypointLabels

FAR = 0.1  # of the object's length
MAX_EXCHANGED_SHARE = 0.5  # of the distances that remain when left and right are exchanged


def wrong_points(errors: PointErrors, labels: KeypointLabels) -> list[LikelyWrongLabel]:
    """Points that are exchanged, left for right, and points far from where the model is confident that they are.

    Args:
        errors: of all images.
        labels: the points and their pairs.
    """
    confident = np.nan_to_num(errors.scores, nan=-1) >= confident_scores(errors)
    listed, exchanged = _exchanged(errors, labels, confident)
    far = confident & (errors.kinds == MISS) & (errors.relative_distances >= FAR) & ~exchanged
    for row, point in np.argwhere(far):
        score, distance = errors.scores[row, point], errors.distances[row, point]
        text = f"{labels.points[point]} is {distance:.0f} px from its prediction ({score:.2f})"
        listed.append(_entry(errors, int(row), score * (1 - errors.similarity[row, point]), text))
    return likeliest_first(listed)


def confident_scores(errors: PointErrors) -> np.ndarray:
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
    """Pairs whose confident predictions fit far better with left and right exchanged; and (M, K) bool, the points of these."""
    listed, points = [], np.zeros(errors.kinds.shape, dtype=bool)
    for pair in labels.flip_pairs or ():
        first, second = pair
        columns = [first, second]
        both = (errors.measured & confident)[:, columns].all(axis=1)
        given = errors.distances[:, columns].sum(axis=1)
        turned = np.linalg.norm(errors.predicted[:, columns[::-1]] - errors.points[:, columns, :2], axis=-1).sum(axis=1)
        far = given >= FAR * errors.lengths
        for row in np.flatnonzero(both & far & (turned < MAX_EXCHANGED_SHARE * given)).tolist():
            points[row, columns] = True
            score = float(errors.scores[row, columns].min())
            text = f"{labels.points[first]} and {labels.points[second]} seem exchanged ({score:.2f})"
            listed.append(_entry(errors, row, score * (1 - turned[row] / given[row]), text))
    return listed, points
