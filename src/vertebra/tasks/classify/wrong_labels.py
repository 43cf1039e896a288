"""Classes of images that are likely wrong, by confident learning (numpy only); see `vertebra.tasks.confident_learning`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.confident_learning import doubted_labels, likeliest_first
from vertebra.tasks.diagnosis import LikelyWrongLabel


def wrong_classes(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """The images that likely show another class than their label.

    Args:
        probabilities: (N, K).
        labels: (N,) int64.
        names: of the classes.
    """
    listed = []
    for image in doubted_labels(probabilities, labels).tolist():
        predicted, given = int(probabilities[image].argmax()), int(labels[image])
        text = f"labeled {names[given]}, predicted {names[predicted]} ({probabilities[image, predicted]:.2f})"
        listed.append(LikelyWrongLabel(image, 1 - float(probabilities[image, given]), text))
    return likeliest_first(listed)


def wrong_presences(probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """The images in whose labels a class is likely missing, or wrongly there; each class by itself.

    Args:
        probabilities: (N, K) of overlapping classes; nan where the label says nothing about a class.
        present: (N, K) bool, the labels.
        names: of the classes.
    """
    listed = []
    for name, probability, labels in zip(names, probabilities.T, present.T.astype(np.int64), strict=True):
        both = np.stack([1 - probability, probability], axis=1)
        rows = np.flatnonzero(~np.isnan(probability))
        for image in rows[doubted_labels(both[rows], labels[rows])].tolist():
            labeled = f"labeled {name}" if labels[image] else f"not labeled {name}"
            text = f"{labeled}, predicted with probability {probability[image]:.2f}"
            listed.append(LikelyWrongLabel(image, 1 - float(both[image, labels[image]]), text))
    return likeliest_first(listed)
