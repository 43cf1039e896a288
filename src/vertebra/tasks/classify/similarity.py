"""How far two answers about one image agree, where numbers differ by more than rounding."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.classify.types import ClassifyPrediction


def similarity(expected: ClassifyPrediction, got: ClassifyPrediction) -> float:
    """1 where the probabilities are the same, less the largest difference of one; 0 where there is none."""
    apart = float(np.abs(expected.probabilities - got.probabilities).max())
    return 1.0 - apart if np.isfinite(apart) else 0.0
