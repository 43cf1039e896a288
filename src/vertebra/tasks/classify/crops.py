"""Merges the class predictions on the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vertebra.tasks.classify.boxed_predictions import BoxedPredictions
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.crops import Crops


def merge_crops(predictions: Sequence[ClassifyPrediction], crops: Crops, labels: ClassifyLabels) -> BoxedPredictions:
    """The classes of each box, without thresholds: those of a model are for whole images."""
    plain = tuple(replace(prediction, thresholds=None) for prediction in predictions)
    return BoxedPredictions(crops.boxes, plain, labels, crops.image)
