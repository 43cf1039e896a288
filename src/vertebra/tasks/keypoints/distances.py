"""Distances of predicted points from the annotated ones: in pixels, relative to the object's size, and PCK."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows
from vertebra.tasks.metric import named

Length = Literal["box", "image"]


def lengths_of(annotation: KeypointAnnotation, length: Length) -> np.ndarray:
    """The unit of distances: the longer side of each object's box, or of the image.

    Returns:
        (M,) in pixels.

    Raises:
        ValueError: the annotation has no image size.
    """
    if length == "image":
        if not max(annotation.size):
            raise ValueError("length 'image' needs the image's size, but the annotation has none")
        return np.full(len(annotation.labels), float(max(annotation.size)))
    sides: np.ndarray = (annotation.boxes[:, 2:] - annotation.boxes[:, :2]).max(axis=1, initial=0)
    return sides


def distance_metrics(
    predicted: Sequence[PredictedRows], true: Sequence[GroundTruthRows], points: Sequence[str], share: float
) -> dict[str, float]:
    """``pck``, ``nme`` and ``error``, and each by point; see `vertebra.tasks.keypoints.metrics.PointMetric`.

    Args:
        predicted, true: the objects of each image.
        points: names of the points.
        share: maximum distance of a correct point, as a share of the length.
    """
    pieces = [_compare(rows, ground_truth) for rows, ground_truth in zip(predicted, true, strict=True)]
    distance, known, length = (np.concatenate(part) for part in zip(*pieces, strict=True))
    right = known & (distance <= share * length[:, None])
    measured = known & np.isfinite(distance)
    error = np.where(measured, distance, 0)
    sized = measured & (length[:, None] > 0)
    relative = np.where(sized, error / np.maximum(length, 1e-9)[:, None], 0)
    metrics: dict[str, float] = {}
    for name, values, counted in (("pck", right, known), ("nme", relative, sized), ("error", error, measured)):
        if counted.any():
            metrics[name] = float(values.sum() / counted.sum())
            counts = counted.sum(axis=0)
            means = values.sum(axis=0) / np.maximum(counts, 1)
            metrics |= named(name, points, means.tolist(), (counts > 0).tolist())
    return metrics


def _compare(predicted: PredictedRows, true: GroundTruthRows) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For the counted objects of one image: the distance (M, K) of each point, infinite if the object has no match; which points
    are labeled (M, K); and the lengths (M,)."""
    points, lengths = true.points[true.counted], true.lengths[true.counted]
    matches = match_nearest(predicted, true)
    matched = matches >= 0
    distance = np.full(points.shape[:2], np.inf)
    offsets = predicted.points[matches[matched]] - points[matched, :, :2]
    distance[matched] = np.linalg.norm(offsets, axis=-1)
    return distance, points[..., 2] > 0, lengths


def match_nearest(predicted: PredictedRows, true: GroundTruthRows) -> np.ndarray:
    """Matches objects of one image: best scores first, to the nearest annotated object of the class, by the mean distance of its
    labeled points.

    Returns:
        (M,) int64, for each counted object its prediction, or -1.
    """
    points, labels = true.points[true.counted], true.labels[true.counted]
    known = points[..., 2] > 0
    matches = np.full(len(labels), -1, dtype=np.int64)
    distances = np.linalg.norm(predicted.points[:, None] - points[None, ..., :2], axis=-1)
    mean = (distances * known).sum(axis=-1) / known.sum(axis=-1)
    mean[predicted.labels[:, None] != labels[None]] = np.inf
    for row in np.argsort(-predicted.scores, kind="stable"):
        if len(labels) and np.isfinite(mean[row].min()):
            nearest = int(mean[row].argmin())
            matches[nearest] = row
            mean[:, nearest] = np.inf
    return matches
