"""The kinds of error of predicted points, and what fixing each would gain (numpy only).

Ronchi and Perona, Benchmarking and Error Diagnosis in Multi-Instance Pose Estimation, ICCV 2017, arXiv 1707.05407. Written from
the paper; differences: objects are matched as in the metrics (`vertebra.tasks.keypoints.distances.match_nearest`), an inversion
is a confusion with any other point of the object, and fixed points lie exactly on the annotated ones, but those of an inversion
or swap, which keep their offset from the point that they were confused with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from vertebra.tasks.keypoints.distances import match_nearest
from vertebra.tasks.keypoints.oks import object_similarity, point_similarity
from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows

GOOD_SIMILARITY = 0.85
NEAR_SIMILARITY = 0.5
KINDS = ("jitter", "inversion", "swap", "miss")
JITTER, INVERSION, SWAP, MISS = range(len(KINDS))
MEANING = (
    f"near the right point (similarity from {NEAR_SIMILARITY} to {GOOD_SIMILARITY})",
    "on another point of the same object, such as left for right",
    "on a point of another object",
    "on none of the annotated points",
)


@dataclass(frozen=True, eq=False)
class PointErrors:
    """The points of the counted objects of one or of several images. Unlabeled points, and those of missed objects, have no error.

    Attributes:
        images, boxes, labels, lengths: (M,), (M, 4), (M,), (M,) of the objects; lengths are the unit of relative distances.
        points: (M, K, 3) annotated.
        matches: (M,) int64, the prediction in its image, -1 for a missed object.
        predicted: (M, K, 2) of the matches; NaN for missed objects.
        scores: (M, K) of the predicted points; NaN for missed objects.
        oks: (M,) of the matches; 0 for missed objects.
        similarity: (M, K) of the predicted points; 0 for missed objects.
        kinds: (M, K) int64, of wrong points; -1 for good ones, unlabeled ones and those of missed objects.
        fixed: (M, K, 2) the right position of each wrong point.
    """

    images: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    lengths: np.ndarray
    points: np.ndarray
    matches: np.ndarray
    predicted: np.ndarray
    scores: np.ndarray
    oks: np.ndarray
    similarity: np.ndarray
    kinds: np.ndarray
    fixed: np.ndarray

    @cached_property
    def labeled(self) -> np.ndarray:
        """(M, K) bool, the annotated points."""
        labeled: np.ndarray = self.points[..., 2] > 0
        return labeled

    @cached_property
    def measured(self) -> np.ndarray:
        """(M, K) bool, the annotated points of objects with a match."""
        measured: np.ndarray = self.labeled & (self.matches >= 0)[:, None]
        return measured

    @cached_property
    def distances(self) -> np.ndarray:
        """(M, K) in pixels; NaN for missed objects."""
        distances: np.ndarray = np.linalg.norm(self.predicted - self.points[..., :2], axis=-1)
        return distances

    @cached_property
    def relative_distances(self) -> np.ndarray:
        """(M, K) as a share of the object's length; 1 for missed objects and for objects without a length."""
        sized = (self.lengths > 0) & (self.matches >= 0)
        relative = self.distances / np.where(sized, self.lengths, 1)[:, None]
        return np.where(sized[:, None], relative, 1)


def point_errors(
    predicted: PredictedRows, point_scores: np.ndarray, true: GroundTruthRows, image: int, sigmas: np.ndarray
) -> PointErrors:
    """The errors of one image.

    Args:
        predicted: F objects.
        point_scores: (F, K).
        true: its objects.
        image: its number.
        sigmas: (K,) fall-off of each point.
    """
    counted = true.counted
    matches = match_nearest(predicted, true)
    points, count = true.points[counted], int(counted.sum())
    matched = matches >= 0
    answers = np.full((*points.shape[:2], 2), np.nan)
    answers[matched] = predicted.points[matches[matched]]
    scores = np.full(points.shape[:2], np.nan)
    scores[matched] = point_scores[matches[matched]]
    oks = np.zeros(count)
    whole = object_similarity(predicted.points, true, sigmas)[:, counted]
    oks[matched] = whole[matches[matched], np.flatnonzero(matched)]
    similarity, kinds, fixed = _kinds(np.nan_to_num(answers), points, true.areas[counted], sigmas)
    judged = matched[:, None] & (points[..., 2] > 0)
    return PointErrors(
        images=np.full(count, image, dtype=np.int64),
        boxes=true.boxes[counted],
        labels=true.labels[counted],
        lengths=true.lengths[counted],
        points=points,
        matches=matches,
        predicted=answers,
        scores=scores,
        oks=oks,
        similarity=np.where(matched[:, None], similarity, 0),
        kinds=np.where(judged, kinds, -1),
        fixed=fixed,
    )


def _kinds(
    answers: np.ndarray, points: np.ndarray, areas: np.ndarray, sigmas: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Similarity (M, K), kind of error (M, K) and fixed position (M, K, 2) of points (M, K, 2)."""
    count, number = points.shape[:2]
    offsets = answers[:, :, None, None] - points[None, None, :, :, :2]  # (M, K, M, K, 2)
    squared = (offsets**2).sum(axis=-1)
    every = point_similarity(squared, areas[:, None], sigmas) * (points[..., 2] > 0)
    rows, columns = np.ix_(np.arange(count), np.arange(number))
    similarity = point_similarity(squared[rows, columns, rows, columns], areas[:, None], sigmas)
    same_object = np.eye(count, dtype=bool)[:, None, :, None]
    same_point = same_object & np.eye(number, dtype=bool)[None, :, None]
    kinds = np.full((count, number), MISS)
    fixed = points[..., :2].copy()
    for kind, confusable in ((SWAP, ~same_object), (INVERSION, same_object & ~same_point)):
        flat = np.where(confusable, every, 0).reshape(count, number, count * number)
        if not flat.shape[-1]:
            continue
        confused = flat.max(axis=-1) >= NEAR_SIMILARITY
        kinds[confused] = kind
        on = points[..., :2].reshape(-1, 2)[flat.argmax(axis=-1)]
        fixed[confused] = (points[..., :2] + answers - on)[confused]
    near = similarity >= NEAR_SIMILARITY
    kinds = np.where(near, np.where(similarity >= GOOD_SIMILARITY, -1, JITTER), kinds)
    return similarity, kinds, np.where(near[..., None], points[..., :2], fixed)


def concatenate(parts: Sequence[PointErrors]) -> PointErrors:
    """The errors of several images; at least one."""
    names = PointErrors.__dataclass_fields__
    return PointErrors(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def fix(predicted: PredictedRows, errors: PointErrors, kind: int) -> PredictedRows:
    """The predictions of one image with fixed errors of one kind.

    Args:
        predicted: F objects.
        errors: of the same image.
        kind: which errors.
    """
    points = predicted.points.copy()
    objects, rows = np.nonzero(errors.kinds == kind)
    points[errors.matches[objects], rows] = errors.fixed[objects, rows]
    return PredictedRows(points, predicted.scores, predicted.labels)
