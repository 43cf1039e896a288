"""Calibration: whether predictions with a confidence of 0.8 are right in 80 % of cases (numpy only).

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599.
"""

from __future__ import annotations

import numpy as np

from vertebra.tasks.diagnosis import Curve, LineChart

BINS = 15


def bin_totals(confidence: np.ndarray, correct: np.ndarray) -> np.ndarray:
    """Totals of equally wide bins of the confidence; totals of several sets of predictions may be added.

    Args:
        confidence: (N,) 0 to 1; a bin includes its upper end.
        correct: (N,) bool.

    Returns:
        (3, BINS) float64: predictions, sum of their confidences, and correct ones.
    """
    bins = np.clip(np.ceil(np.asarray(confidence, dtype=np.float64) * BINS).astype(np.int64) - 1, 0, BINS - 1)
    weights = (None, confidence, correct)
    return np.stack([np.bincount(bins, weight, minlength=BINS).astype(np.float64) for weight in weights])


def expected_calibration_error(totals: np.ndarray) -> float:
    """The mean distance of confidence and share of correct predictions, over the predictions of all bins; 0 without any."""
    counts, confidence, correct = totals
    return float(np.abs(confidence - correct).sum() / max(counts.sum(), 1))


def reliability_chart(totals: np.ndarray, confidence: str, correct: str) -> LineChart:
    """The reliability diagram.

    Args:
        totals: of `bin_totals`.
        confidence: what the model gives, such as "probability of the predicted class".
        correct: what is counted, such as "share of right classes".
    """
    counts, confidences, rights = totals
    known = counts > 0
    curve = Curve("model", confidences[known] / counts[known], rights[known] / counts[known])
    error = expected_calibration_error(totals)
    excess = (confidences.sum() - rights.sum()) / max(counts.sum(), 1)
    leaning = "above" if excess > 0 else "below"
    text = (
        f"Expected calibration error (ECE, {BINS} bins): {error:.3f}. On average the {confidence} is {abs(excess):.3f} {leaning} "
        f"the {correct}. A point under the diagonal is overconfident, one above it is underconfident."
    )
    return LineChart("Calibration (reliability diagram)", confidence, correct, [curve], text, diagonal=True)
