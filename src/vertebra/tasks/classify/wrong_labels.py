"""Classes of images that are likely wrong, by confident learning (numpy only); see `vertebra.tasks.confident_learning`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.confident_learning import confident_classes, label_doubts, likeliest_first
from vertebra.tasks.diagnosis import LikelyWrongLabel


def wrong_classes(probabilities: np.ndarray, labels: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """The images of which the model is confident that they show another class than their label.

    Args:
        probabilities: (N, K).
        labels: (N,) int64.
        names: of the classes.
    """
    confident, doubts = confident_classes(probabilities, labels), label_doubts(probabilities, labels)
    listed = []
    for image in np.flatnonzero((confident >= 0) & (confident != labels)):
        answer = confident[image]
        text = f"labeled {names[labels[image]]}, predicted {names[answer]} ({probabilities[image, answer]:.2f})"
        listed.append(LikelyWrongLabel(int(image), float(doubts[image]), text))
    return likeliest_first(listed)


def wrong_presences(probabilities: np.ndarray, present: np.ndarray, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """The images of which the model is confident that a class is missing, or wrongly there; each class by itself.

    Args:
        probabilities: (N, K) of overlapping classes.
        present: (N, K) bool, the labels.
        names: of the classes.
    """
    listed = []
    for name, probability, labels in zip(names, probabilities.T, present.T.astype(np.int64), strict=True):
        both = np.stack([1 - probability, probability], axis=1)
        confident, doubts = confident_classes(both, labels), label_doubts(both, labels)
        for image in np.flatnonzero((confident >= 0) & (confident != labels)):
            labeled = f"labeled {name}" if labels[image] else f"not labeled {name}"
            text = f"{labeled}, predicted with probability {probability[image]:.2f}"
            listed.append(LikelyWrongLabel(int(image), float(doubts[image]), text))
    return likeliest_first(listed)
