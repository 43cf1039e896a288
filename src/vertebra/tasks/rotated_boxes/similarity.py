"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

from vertebra.geometry.rectangles import rotated_iou
from vertebra.tasks.detect.similarity import MIN_IOU, matched_share
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction


def similarity(expected: RotatedBoxPrediction, got: RotatedBoxPrediction) -> float:
    """The share of confident objects of each prediction that match an object of the other: same class, and rotated boxes with an
    IoU of 0.5 or more; see `vertebra.tasks.detect.similarity.similarity`."""
    return matched_share(expected, got, rotated_iou(expected.corners, got.corners) >= MIN_IOU)
