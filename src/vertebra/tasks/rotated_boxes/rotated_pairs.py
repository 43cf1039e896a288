"""Predicted and annotated rotated boxes of one image, with the pairs that overlap, and what is derived from them (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.geometry.rectangles import areas, intersections, rotated_iou
from vertebra.tasks.detect.box_pairs import BoxPairs, ImageObjects, kept_detections, pair_objects
from vertebra.tasks.detect.object_scores import confidences_of_pairs, scores_of_pairs
from vertebra.tasks.object_scores import Confidences, ObjectScores
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction


def rotated_overlaps(first: np.ndarray, second: np.ndarray, crowd: np.ndarray) -> np.ndarray:
    """The intersection over union of each pair of rotated boxes.

    Args:
        first, second: (M, 4, 2) and (L, 4, 2) corners.
        crowd: (L,) bool, those whose intersection is divided by the area of the first box alone.

    Returns:
        (M, L) float64.
    """
    first, second = first.astype(np.float64), second.astype(np.float64)
    overlaps: np.ndarray = rotated_iou(first, second)
    if crowd.any():
        share = intersections(first, second[crowd]) / np.maximum(areas(first), 1e-9)[:, None]
        overlaps[:, crowd] = np.minimum(share, 1)
    return overlaps


def rotated_pairs_of_image(prediction: RotatedBoxPrediction, annotation: RotatedBoxAnnotation) -> BoxPairs:
    """The objects of one image, and the pairs whose rotated boxes overlap."""
    kept = kept_detections(prediction.scores, prediction.class_ids)
    crowd = annotation.crowd.astype(bool)
    return pair_objects(
        ImageObjects(prediction.boxes[kept].astype(np.float64), prediction.scores[kept], prediction.class_ids[kept]),
        ImageObjects(annotation.boxes.astype(np.float64), crowd, annotation.labels),
        rotated_overlaps(prediction.corners[kept], annotation.corners, crowd),
        annotation.exhaustive,
    )


def object_scores(prediction: RotatedBoxPrediction, annotation: RotatedBoxAnnotation) -> ObjectScores:
    """The scores of the boxes that match annotated ones of their class with a rotated IoU of 0.5 or more, best box first, and of
    the others; crowds are no objects, and boxes in them are not wrong."""
    return scores_of_pairs(rotated_pairs_of_image(prediction, annotation))


def confidences(prediction: RotatedBoxPrediction, annotation: RotatedBoxAnnotation) -> Confidences:
    """The scores of all boxes but those in crowds, and which of them match."""
    return confidences_of_pairs(rotated_pairs_of_image(prediction, annotation))
