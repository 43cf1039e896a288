"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.classify.types import ClassifyPrediction


def similarity(expected: ClassifyPrediction, got: ClassifyPrediction) -> float:
    """1 minus the largest difference of a probability; 0 where it is not finite."""
    apart = float(np.abs(expected.probabilities - got.probabilities).max())
    return 1.0 - apart if np.isfinite(apart) else 0.0
