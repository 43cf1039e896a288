"""Confident learning: which labels a model contradicts, measured by how sure it usually is of each class (numpy only).

Northcutt et al., Confident Learning: Estimating Uncertainty in Dataset Labels, JAIR 2021, arXiv 1911.00068. Differences: labels are
ranked by the probability of the label, which lists more wrong ones than the normalized margin where the model is often wrong
(`benchmarks/wrong_labels.py`); and the list is longer than the estimated number of wrong labels, up to `LIST_FACTOR` times.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.diagnosis import LikelyWrongLabel

MAX_LISTED = 1000
LIST_FACTOR = 1.5


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


def estimated_wrong(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """The estimated number of wrong labels: the off-diagonal of the confident joint, with rows scaled to the labels of each class.

    Args:
        probabilities: (N, K).
        labels: (N,) int64.
    """
    count = probabilities.shape[1]
    confident = confident_classes(probabilities, labels)
    known = confident >= 0
    totals = np.bincount(labels[known], minlength=count)
    differing = np.bincount(labels[known & (confident != labels)], minlength=count)
    return float((differing / np.maximum(totals, 1) * np.bincount(labels, minlength=count)).sum())


def doubted_labels(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows (n,) of labels that are likely wrong, the likeliest first.

    Another class is the most probable one there; the list ends at `LIST_FACTOR` times the estimated number of wrong labels.

    Args:
        probabilities: (N, K).
        labels: (N,) int64.
    """
    rows = np.flatnonzero(probabilities.argmax(axis=1) != labels)
    order = np.argsort(probabilities[rows, labels[rows]], kind="stable")
    doubted: np.ndarray = rows[order[: round(LIST_FACTOR * estimated_wrong(probabilities, labels))]]
    return doubted


def likeliest_first(entries: Sequence[LikelyWrongLabel]) -> list[LikelyWrongLabel]:
    """The likeliest first, at most `MAX_LISTED`."""
    return sorted(entries, key=lambda entry: -entry.confidence)[:MAX_LISTED]
