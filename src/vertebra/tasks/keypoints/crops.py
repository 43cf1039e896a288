"""Merges the points of the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.crops import Crops, concatenated, crop_of_object
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.types import KeypointPrediction


def merge_crops(predictions: Sequence[KeypointPrediction], crops: Crops, labels: KeypointLabels) -> KeypointPrediction:
    """The points of all objects, best first; scores are multiplied by those of the boxes. Thresholds that the model stores were
    applied to its scores, before.

    If each crop has one object, its box is that of the first model.
    """
    crop = crop_of_object(predictions)
    if crops.one_object:
        boxes = crops.boxes[crop]
    else:
        boxes = concatenated([each.boxes for each in predictions], (4,)) + np.tile(crops.corners, 2)[crop]
    count = len(labels.points)
    points = concatenated([each.points for each in predictions], (count, 2)) + crops.corners[crop][:, None]
    scores = concatenated([each.scores for each in predictions]) * crops.scores[crop]
    order = np.argsort(-scores, kind="stable")
    merged = KeypointPrediction(
        points=points[order].astype(np.float32),
        point_scores=concatenated([each.point_scores for each in predictions], (count,))[order].astype(np.float32),
        boxes=boxes[order].astype(np.float32),
        scores=scores[order].astype(np.float32),
        class_ids=concatenated([each.class_ids for each in predictions])[order].astype(np.int64),
        spec=labels,
        image=crops.image,
    )
    return merged.apply_threshold(0.0 if crops.threshold is None else crops.threshold)
