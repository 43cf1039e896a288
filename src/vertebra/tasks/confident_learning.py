"""Confident learning: which labels a model contradicts, measured by how sure it usually is of each class (numpy only).

Northcutt et al., Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, arXiv 1911.00068.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.diagnosis import LikelyWrongLabel

MAX_LISTED = 1000


def class_thresholds(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The mean probability of each class over the images with its label.

    Args:
        probabilities: (N, K).
        labels: (N,) int64.

    Returns:
        (K,) float64; infinite for a class without images, which the model then never contradicts with.
    """
    count = probabilities.shape[1]
    images = np.bincount(labels, minlength=count)
    sums_of_class = np.bincount(labels, probabilities[np.arange(len(labels)), labels], minlength=count)
    return np.where(images > 0, sums_of_class / np.maximum(images, 1), np.inf)


def confident_classes(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """For each image the most probable of the classes that reach their threshold; -1 where none does.

    An image whose class here is not its label is an off-diagonal entry of the confident joint.
    """
    reached = probabilities >= class_thresholds(probabilities, labels) - 1e-9
    classes: np.ndarray = np.where(reached, probabilities, -1).argmax(axis=1)
    return np.where(reached.any(axis=1), classes, -1)


def label_doubts(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How much each label is doubted, 0 to 1: one less the normalized margin of the label before all other classes.

    Args:
        probabilities: (N, K).
        labels: (N,) int64.

    Returns:
        (N,) float64; over 0.5 where another class is more probable.
    """
    rows = np.arange(len(labels))
    given = probabilities[rows, labels].astype(np.float64)
    without = probabilities.astype(np.float64)
    without[rows, labels] = 0
    doubts: np.ndarray = (without.max(axis=1, initial=0) - given + 1) / 2
    return doubts


def likeliest_first(entries: Sequence[LikelyWrongLabel]) -> list[LikelyWrongLabel]:
    """The likeliest first, at most `MAX_LISTED`."""
    return sorted(entries, key=lambda entry: -entry.confidence)[:MAX_LISTED]
