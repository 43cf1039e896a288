"""The scores that decide about the objects of an image: from which threshold on each is missed, and what is wrong (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

MISSED = -1.0
"""The score of an annotated object that no prediction matches: every threshold misses it."""


@dataclass(frozen=True, eq=False)
class ObjectScores:
    """The scores of one image's annotated objects and of its wrong predictions. For a task of whole images an object is a class of
    the image.

    Attributes:
        true_ids: (T,) int64, the class of each annotated object.
        true_scores: (T,) float64, the score of the prediction of its class that matches it, or `MISSED`: a threshold above it
            misses the object.
        false_ids, false_scores: (F,) class and score of the predictions that match nothing.
    """

    true_ids: np.ndarray
    true_scores: np.ndarray
    false_ids: np.ndarray
    false_scores: np.ndarray


@dataclass(frozen=True, eq=False)
class Confidences:
    """Predicted probabilities with what is right, for calibration.

    Attributes:
        probabilities: (N, K) float64, each row sums to 1. Of a yes-or-no decision K is 2: no, yes.
        right: (N,) int64, the right column of each row.
    """

    probabilities: np.ndarray
    right: np.ndarray


def concatenate_confidences(parts: Sequence[Confidences]) -> Confidences:
    """The rows of several images; at least one."""
    return Confidences(
        np.concatenate([part.probabilities for part in parts]), np.concatenate([part.right for part in parts])
    )


def decision_confidences(scores: np.ndarray, right: np.ndarray) -> Confidences:
    """Confidences of decisions.

    Args:
        scores: (N,) the probability of yes.
        right: (N,) bool, whether yes is right.
    """
    yes = np.asarray(scores, dtype=np.float64)
    return Confidences(np.stack([1 - yes, yes], axis=1), np.asarray(right).astype(np.int64))


def class_confidences(probabilities: np.ndarray, right: np.ndarray) -> Confidences:
    """Confidences of classes that share a softmax.

    Args:
        probabilities: (N, K).
        right: (N,) class ids.
    """
    rows = np.asarray(probabilities, dtype=np.float64)
    sums = rows.sum(axis=1, keepdims=True)
    return Confidences(rows / np.maximum(sums, np.finfo(np.float64).tiny), np.asarray(right).astype(np.int64))
