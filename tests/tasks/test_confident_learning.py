"""Confident learning, equal to numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.tasks.confident_learning import class_thresholds, confident_classes, doubted_labels, estimated_wrong

PROBABILITIES = np.array([[0.9, 0.1, 0], [0.7, 0.3, 0], [0.2, 0.8, 0], [0.85, 0.15, 0], [0.45, 0.55, 0]])
LABELS = np.array([0, 0, 1, 1, 1])


def test_thresholds_are_mean_self_confidences() -> None:
    assert class_thresholds(PROBABILITIES, LABELS).tolist() == pytest.approx([0.8, 0.5, np.inf])


def test_the_most_probable_of_the_classes_that_reach_their_threshold() -> None:
    assert confident_classes(PROBABILITIES, LABELS).tolist() == [0, -1, 1, 0, 1], (
        "only the fourth contradicts its label"
    )


def test_as_many_wrong_labels_are_listed_as_the_confident_joint_has_and_half_again() -> None:
    # of 3 labels of the second class all are confidently of a class, 1 of another one
    assert estimated_wrong(PROBABILITIES, LABELS) == pytest.approx(1)
    assert doubted_labels(PROBABILITIES, LABELS).tolist() == [3], "no other class is more probable elsewhere"
    unsure = np.array([[0.6, 0.4]] * 3 + [[0.4, 0.6], [0.45, 0.55], [0.1, 0.9]] + [[0.2, 0.8]] * 4)
    labels = np.array([0] * 6 + [1] * 4)
    # thresholds: 0.4583 and 0.8; of the first class 3 are confidently right and 1 of the other: 1 / 4 of 6 labels
    assert estimated_wrong(unsure, labels) == pytest.approx(1.5)
    assert doubted_labels(unsure, labels).tolist() == [5, 3], "1.5 times 1.5, the least probable labels first"


def test_no_label_is_doubted_without_images_or_with_one_class() -> None:
    assert not len(doubted_labels(np.zeros((0, 3)), LABELS[:0]))
    assert not len(doubted_labels(np.ones((4, 1)), np.zeros(4, dtype=np.int64)))
