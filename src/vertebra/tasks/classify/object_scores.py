"""The scores of an image's classes, for thresholds and calibration (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.object_scores import Confidences, ObjectScores, class_confidences, decision_confidences


def object_scores(prediction: ClassifyPrediction, annotation: ClassifyAnnotation) -> ObjectScores:
    """The probabilities of the classes that the image has, and of all others."""
    scores = prediction.probabilities.astype(np.float64)
    has = _has(prediction, annotation)
    true_ids, false_ids = np.flatnonzero(has), np.flatnonzero(~has)
    return ObjectScores(true_ids, scores[true_ids], false_ids, scores[false_ids])


def confidences(prediction: ClassifyPrediction, annotation: ClassifyAnnotation) -> Confidences:
    """The probabilities of the classes: one row for exclusive ones, else one for each class."""
    if prediction.spec.multilabel:
        return decision_confidences(prediction.probabilities, _has(prediction, annotation))
    return class_confidences(prediction.probabilities[None], np.flatnonzero(_has(prediction, annotation)))


def _has(prediction: ClassifyPrediction, annotation: ClassifyAnnotation) -> np.ndarray:
    """(K,) bool, the classes of the image."""
    label = np.asarray(annotation.label)
    has: np.ndarray = label > 0 if label.ndim else np.arange(prediction.spec.class_count) == label
    return has
