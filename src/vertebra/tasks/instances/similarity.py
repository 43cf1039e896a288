"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

from vertebra.tasks.detect.similarity import MIN_IOU, matched_share
from vertebra.tasks.instances.mask_pairs import mask_overlaps
from vertebra.tasks.instances.types import InstancePrediction


def similarity(expected: InstancePrediction, got: InstancePrediction) -> float:
    """The share of confident objects of each prediction that match an object of the other: same class, and masks with an IoU of 0.5
    or more; see `vertebra.tasks.detect.similarity.similarity`."""
    overlaps = mask_overlaps(expected.rles.tolist(), got.rles.tolist())
    return matched_share(expected, got, overlaps >= MIN_IOU)
