"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.classify.types import ClassifyPrediction


def similarity(expected: ClassifyPrediction, got: ClassifyPrediction) -> float:
    """1 minus the largest difference of a probability; 0 where it is not finite."""
    difference = float(np.abs(expected.probabilities - got.probabilities).max())
    return 1.0 - difference if np.isfinite(difference) else 0.0
