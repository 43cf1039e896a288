"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.similarity import similarity as box_similarity
from vertebra.tasks.detect.types import DetectPrediction


def similarity(expected: AttributePrediction, got: AttributePrediction) -> float:
    """That of boxes, where class and value must both be the same; see `vertebra.tasks.detect.similarity`."""
    return box_similarity(_with_values(expected), _with_values(got))


def _with_values(prediction: AttributePrediction) -> DetectPrediction:
    joint = prediction.box_class_ids * prediction.spec.class_count + prediction.class_ids
    return DetectPrediction(prediction.boxes, prediction.box_scores, joint, DetectLabels(("object",)))
