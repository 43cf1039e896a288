"""How far two answers about one image agree, where numbers differ by more than rounding."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.detect.types import DetectPrediction

SURE = 0.3  # the score from which an object must be found by both
OVERLAP = 0.5


def similarity(expected: DetectPrediction, got: DetectPrediction) -> float:
    """The share of the sure objects of both that the other has as well: of the same class, with an IoU of 0.5 or more.

    Sure is a score of 0.3, or half of the best score where that is lower; the other need not be as sure by half. 1 where neither
    has an object.
    """
    sure = min(SURE, 0.5 * float(expected.scores.max(initial=0.0)) or SURE)
    alike = expected.class_ids[:, None] == got.class_ids[None]
    same = np.logical_and(pairwise_overlap(expected.boxes, got.boxes) >= OVERLAP, alike)
    mine, theirs = expected.scores >= sure, got.scores >= sure
    found = same[:, got.scores >= sure / 2].any(axis=1)[mine]
    founded = same[expected.scores >= sure / 2].any(axis=0)[theirs]
    objects = len(found) + len(founded)
    return float(found.sum() + founded.sum()) / objects if objects else 1.0


def pairwise_overlap(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """IoU of each box (M, 4) with each box (L, 4), xyxy: (M, L)."""
    left_top = np.maximum(first[:, None, :2], second[None, :, :2])
    right_bottom = np.minimum(first[:, None, 2:], second[None, :, 2:])
    shared = np.clip(right_bottom - left_top, 0, None).prod(axis=-1)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=-1) for boxes in (first, second)]
    overlap: np.ndarray = shared / np.maximum(areas[0][:, None] + areas[1] - shared, 1e-9)
    return overlap
