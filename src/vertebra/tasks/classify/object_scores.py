"""The scores of an image's classes, for thresholds and calibration (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.errors import DataError
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.object_scores import Confidences, ObjectScores, class_confidences, decision_confidences


def object_scores(prediction: ClassifyPrediction, annotation: ClassifyAnnotation) -> ObjectScores:
    """The probabilities of the classes that the image has, and of those that it does not have."""
    scores = prediction.probabilities.astype(np.float64)
    has = present_classes(annotation, prediction.spec)
    known = np.ones(len(has), dtype=bool) if annotation.known is None else annotation.known
    true_ids, false_ids = np.flatnonzero(has), np.flatnonzero(~has & known)
    return ObjectScores(true_ids, scores[true_ids], false_ids, scores[false_ids])


def confidences(prediction: ClassifyPrediction, annotation: ClassifyAnnotation) -> Confidences:
    """The probabilities of the classes: one row for exclusive ones, else one for each class."""
    if prediction.spec.multilabel:
        known = slice(None) if annotation.known is None else annotation.known
        return decision_confidences(
            prediction.probabilities[known], present_classes(annotation, prediction.spec)[known]
        )
    return class_confidences(
        prediction.probabilities[None], np.flatnonzero(present_classes(annotation, prediction.spec))
    )


def present_classes(annotation: ClassifyAnnotation, labels: ClassifyLabels) -> np.ndarray:
    """(K,) bool, the classes of an image.

    Raises:
        DataError: the label is not a class id, or for overlapping classes not (K,) of 0 and 1.
    """
    label, count = np.asarray(annotation.label), labels.class_count
    if labels.multilabel:
        if label.shape != (count,) or not np.isin(label, (0, 1)).all():
            raise DataError(f"a multi-label annotation must be ({count},) of 0 and 1, got {label!r}")
        return label.astype(bool)
    if label.ndim or not 0 <= int(label) < count:
        raise DataError(f"label {label} is not a class id: there are {count} classes")
    present: np.ndarray = np.arange(count) == int(label)
    return present
