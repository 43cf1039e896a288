"""How far two answers about one image agree, where numbers differ by more than rounding."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.keypoints.types import KeypointPrediction

MAX_DISTANCE = 0.05  # of the longer side of an object's box


def similarity(expected: KeypointPrediction, got: KeypointPrediction) -> float:
    """The share of points that lie within a twentieth of their object's longer side of each other.

    Objects are compared in pairs, each with the one whose middle is nearest; where one of the two answers has no object and the
    other has, it is 0.
    """
    if not len(expected) or not len(got):
        return float(len(expected) == len(got))
    middles = [0.5 * (boxes[:, :2] + boxes[:, 2:]) for boxes in (expected.boxes, got.boxes)]
    partner = np.linalg.norm(middles[0][:, None] - middles[1], axis=-1).argmin(axis=1)
    sides = (expected.boxes[:, 2:] - expected.boxes[:, :2]).max(axis=1, keepdims=True)
    apart = np.linalg.norm(expected.points - got.points[partner], axis=-1)
    return float((apart <= MAX_DISTANCE * sides).mean())
