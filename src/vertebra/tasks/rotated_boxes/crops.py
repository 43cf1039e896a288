"""Merges the rotated boxes of the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.crops import Crops, concatenated, crop_of_object
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.predictions import clipped_prediction
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction


def merge_crops(
    predictions: Sequence[RotatedBoxPrediction], crops: Crops, labels: RotatedBoxLabels
) -> RotatedBoxPrediction:
    """All objects in all crops, best first, without those outside of the image."""
    crop = crop_of_object(predictions)
    corners = concatenated([each.corners for each in predictions], (4, 2)) + crops.corners[crop][:, None]
    scores = concatenated([each.scores for each in predictions])
    ids = concatenated([each.class_ids for each in predictions])
    order = np.argsort(-scores, kind="stable")
    merged = clipped_prediction(
        corners[order].astype(np.float32),
        scores[order].astype(np.float32),
        ids[order].astype(np.int64),
        crops.size,
        labels,
        crops.image,
    )
    return merged.apply_threshold(0.0 if crops.threshold is None else crops.threshold)
