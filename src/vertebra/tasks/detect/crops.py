"""Merges the boxes of the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.crops import Crops, concatenated, crop_of_object
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction


def merge_crops(predictions: Sequence[DetectPrediction], crops: Crops, labels: DetectLabels) -> DetectPrediction:
    """All objects in all crops, best first, clipped to the image."""
    height, width = crops.size
    crop = crop_of_object(predictions)
    boxes = concatenated([each.boxes for each in predictions], (4,)) + np.tile(crops.corners, 2)[crop]
    boxes = boxes.clip(0, [width, height, width, height]).astype(np.float32)
    scores = concatenated([each.scores for each in predictions])
    ids = concatenated([each.class_ids for each in predictions])
    order = np.argsort(-scores, kind="stable")
    order = order[(boxes[order, 2] > boxes[order, 0]) & (boxes[order, 3] > boxes[order, 1])]
    merged = DetectPrediction(
        boxes[order], scores[order].astype(np.float32), ids[order].astype(np.int64), labels, crops.image
    )
    return merged.apply_threshold(0.0 if crops.threshold is None else crops.threshold)
