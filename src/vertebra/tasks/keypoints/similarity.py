"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.keypoints.types import KeypointPrediction

MAX_DISTANCE = 0.05  # of the longer side of an object's box


def similarity(expected: KeypointPrediction, got: KeypointPrediction) -> float:
    """The share of points whose distance is at most a twentieth of their object's longer side.

    Each object is compared with the one whose center is nearest; 0 if only one of the predictions has objects.
    """
    if not len(expected) or not len(got):
        return float(len(expected) == len(got))
    middles = [0.5 * (boxes[:, :2] + boxes[:, 2:]) for boxes in (expected.boxes, got.boxes)]
    partner = np.linalg.norm(middles[0][:, None] - middles[1], axis=-1).argmin(axis=1)
    sides = (expected.boxes[:, 2:] - expected.boxes[:, :2]).max(axis=1, keepdims=True)
    distances = np.linalg.norm(expected.points - got.points[partner], axis=-1)
    return float((distances <= MAX_DISTANCE * sides).mean())
