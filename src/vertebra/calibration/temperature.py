"""The temperature of a branch: one number that makes its probabilities as right as they are sure (numpy only).

Guo et al., On Calibration of Modern Neural Networks, ICML 2017, arXiv 1706.04599. It does not change which class is the most
probable, nor the order of boxes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.tasks.calibration import bin_totals, expected_calibration_error
from vertebra.tasks.object_scores import Confidences
from vertebra.weights.stored_calibration import MAX_TEMPERATURE, MIN_TEMPERATURE

STEPS = 40  # of the search, each of which cuts the range by 1.6
MAX_ROWS = 1_000_000  # for the search; more are thinned out evenly
FLOOR = 1e-12  # of a probability


@dataclass(frozen=True)
class FittedTemperature:
    """A temperature, and what it changes on the images it was fitted on.

    Attributes:
        temperature: above 1 where the model is too sure.
        rows: number of probabilities that were compared.
        nll_before, nll_after: mean negative log likelihood, at a temperature of 1 and the fitted one.
        ece_before, ece_after: expected calibration error, of the most probable class or of the decision for yes.
    """

    temperature: float
    rows: int
    nll_before: float
    nll_after: float
    ece_before: float
    ece_after: float


def fit_temperature(confidences: Confidences, *, decisions: bool) -> FittedTemperature:
    """The temperature with the smallest negative log likelihood.

    The likelihood has one minimum in 1 / T, which is found by golden-section search over log T.

    Args:
        confidences: at a temperature of 1; at least one row.
        decisions: whether each row is a decision for yes or no, whose confidence is that of yes; else that of the best class.
    """
    step = -(-len(confidences.right) // MAX_ROWS)
    logits = np.log(np.maximum(confidences.probabilities[::step], FLOOR))
    right = confidences.right[::step]
    ratio = (np.sqrt(5) - 1) / 2
    low, high = np.log(MIN_TEMPERATURE), np.log(MAX_TEMPERATURE)
    for _ in range(STEPS):
        left_point, right_point = high - ratio * (high - low), low + ratio * (high - low)
        if _nll(logits, right, np.exp(left_point)) <= _nll(logits, right, np.exp(right_point)):
            high = right_point
        else:
            low = left_point
    temperature = float(np.clip(np.round(np.exp((low + high) / 2), 4), MIN_TEMPERATURE, MAX_TEMPERATURE))
    after = tempered(confidences.probabilities, temperature)
    return FittedTemperature(
        temperature,
        len(confidences.right),
        nll_before=_nll(logits, right, 1.0),
        nll_after=_nll(logits, right, temperature),
        ece_before=_calibration_error(confidences.probabilities, confidences.right, decisions),
        ece_after=_calibration_error(after, confidences.right, decisions),
    )


def tempered(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Probabilities (N, K) that sum to 1, rescaled as `vertebra.tasks.temperature` does it in the model."""
    powers = (probabilities / probabilities.max(axis=1, keepdims=True)) ** (1 / temperature)
    rescaled: np.ndarray = powers / powers.sum(axis=1, keepdims=True)
    return rescaled


def tempered_score(score: float, temperature: float) -> float:
    """A score of a sigmoid, rescaled; scores keep their order, so a threshold keeps its objects."""
    return float(tempered(np.array([[1 - score, score]]), temperature)[0, 1])


def _nll(logits: np.ndarray, right: np.ndarray, temperature: float) -> float:
    scaled = logits / temperature
    scaled = scaled - scaled.max(axis=1, keepdims=True)
    rows = np.arange(len(right))
    return float((np.log(np.exp(scaled).sum(axis=1)) - scaled[rows, right]).mean())


def _calibration_error(probabilities: np.ndarray, right: np.ndarray, decisions: bool) -> float:
    if decisions:
        return expected_calibration_error(bin_totals(probabilities[:, 1], right == 1))
    return expected_calibration_error(bin_totals(probabilities.max(axis=1), probabilities.argmax(axis=1) == right))
