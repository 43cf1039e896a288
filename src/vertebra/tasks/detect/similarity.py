"""Similarity of two predictions of one image, for comparisons across precisions."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.prediction import Prediction

CONFIDENT_SCORE = 0.3  # minimum score of an object that both predictions must have
MIN_IOU = 0.5


def similarity(expected: DetectPrediction, got: DetectPrediction) -> float:
    """The share of confident objects of each prediction that match an object of the other: same class, IoU of 0.5 or more.

    A confident object has a score of 0.3, or half of the best score if that is lower; its match needs half of that score. 1 if
    neither prediction has a confident object.
    """
    return matched_share(expected, got, pairwise_iou(expected.boxes, got.boxes) >= MIN_IOU)


def matched_share(expected: Prediction, got: Prediction, overlapping: np.ndarray) -> float:
    """`similarity` of two predictions of objects, from which of them overlap, (M, L) bool."""
    threshold = min(CONFIDENT_SCORE, 0.5 * float(expected.scores.max(initial=0.0)) or CONFIDENT_SCORE)
    same_class = expected.class_ids[:, None] == got.class_ids[None]
    matches = np.logical_and(overlapping, same_class)
    expected_confident, got_confident = expected.scores >= threshold, got.scores >= threshold
    expected_matched = matches[:, got.scores >= threshold / 2].any(axis=1)[expected_confident]
    got_matched = matches[expected.scores >= threshold / 2].any(axis=0)[got_confident]
    objects = len(expected_matched) + len(got_matched)
    return float(expected_matched.sum() + got_matched.sum()) / objects if objects else 1.0


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of each box (M, 4) with each box (L, 4), xyxy: (M, L)."""
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], second[None, :, 2:])
    intersection = np.clip(right_bottom - left_top, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (first, second)]
    iou: np.ndarray = intersection / np.maximum(areas[0][:, None] + areas[1] - intersection, 1e-9)
    return iou
