"""Merges the class predictions on the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vertebra.tasks.classify.boxed_predictions import BoxedPredictions
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.crops import Crops


def merge_crops(predictions: Sequence[ClassifyPrediction], crops: Crops, labels: ClassifyLabels) -> BoxedPredictions:
    """The classes of each box, with the thresholds that the model stores; the threshold of a cascade is for objects."""
    if crops.threshold is not None:
        predictions = [replace(prediction, thresholds=None) for prediction in predictions]
    return BoxedPredictions(crops.boxes, tuple(predictions), labels, crops.image)
