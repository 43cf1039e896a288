"""Merges the objects of the crops of an image."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.crops import Crops, concatenated, crop_of_object
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.types import InstancePrediction, region_array


def merge_crops(predictions: Sequence[InstancePrediction], crops: Crops, labels: InstanceLabels) -> InstancePrediction:
    """All objects in all crops, best first; those without a pixel in the image are left out."""
    height, width = crops.size
    crop = crop_of_object(predictions)
    corners = np.rint(crops.corners).astype(np.int64)[crop]
    rles = region_array(
        [
            region.shifted(left, top, crops.size)
            for region, (left, top) in zip(
                (region for each in predictions for region in each.rles), corners.tolist(), strict=True
            )
        ]
    )
    boxes = concatenated([each.boxes for each in predictions], (4,)) + np.tile(corners, 2)
    scores = concatenated([each.scores for each in predictions])
    order = np.argsort(-scores, kind="stable")
    order = order[np.array([rles[row].area > 0 for row in order], dtype=bool)]
    merged = InstancePrediction(
        rles=rles[order],
        boxes=boxes.clip(0, [width, height, width, height])[order].astype(np.float32),
        scores=scores[order].astype(np.float32),
        class_ids=concatenated([each.class_ids for each in predictions])[order].astype(np.int64),
        size=(height, width),
        spec=labels,
        image=crops.image,
    )
    return merged.apply_threshold(0.0 if crops.threshold is None else crops.threshold)
