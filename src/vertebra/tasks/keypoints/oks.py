"""Object keypoint similarity (OKS), as COCO defines it, and average precision by it (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.tasks.greedy_matching import match_by_rank
from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows
from vertebra.tasks.score_curves import ScoreCurve, coco_average_precision, score_curve

OKS_THRESHOLDS = np.linspace(0.5, 0.95, 10)
MAX_OBJECTS = 20  # predicted objects of an image and class, as COCO counts


def point_similarity(squared_distance: np.ndarray, area: np.ndarray, sigmas: np.ndarray) -> np.ndarray:
    """The similarity of points, 1 at the annotated point: exp(-d^2 / (2 area (2 sigma)^2)).

    Args:
        squared_distance: in square pixels.
        area: of the annotated object, in square pixels.
        sigmas: fall-off of the points. All three are broadcast.
    """
    exponent = squared_distance / ((2 * sigmas) ** 2 * (area + np.spacing(1)) * 2)
    similarity: np.ndarray = np.exp(-exponent)
    return similarity


def object_similarity(points: np.ndarray, true: GroundTruthRows, sigmas: np.ndarray) -> np.ndarray:
    """The OKS of predicted objects with annotated ones: the mean similarity of the labeled points.

    For an object without labeled points COCO measures how far the points lie outside a box of twice its size.

    Args:
        points: (F, K, 2) predicted.
        true: M annotated objects.
        sigmas: (K,).

    Returns:
        (F, M).
    """
    labeled = true.points[..., 2] > 0
    offsets = points[:, None] - true.points[None, :, :, :2]
    bare = np.asarray(~labeled.any(axis=1))
    if bare.any():
        corner, sides = true.boxes[bare, :2], true.boxes[bare, 2:] - true.boxes[bare, :2]
        low, high = (corner - sides)[None, :, None], (corner + 2 * sides)[None, :, None]
        outside: np.ndarray = np.maximum(low - points[:, None], 0) + np.maximum(points[:, None] - high, 0)
        offsets[:, bare] = outside
    similarity = point_similarity((offsets**2).sum(axis=-1), true.areas[None, :, None], sigmas)
    weights = labeled | bare[:, None]
    oks: np.ndarray = (similarity * weights).sum(axis=-1) / np.maximum(weights.sum(axis=-1), 1)
    return oks


@dataclass(frozen=True, eq=False)
class ObjectPairs:
    """Predicted objects of all images, and their pairs with counted annotated objects.

    Attributes:
        scores, class_ids: (F,) of the predictions.
        ignored_similarity: (F,) the largest OKS with an ignored object of its class.
        positives: (C,) counted objects by class.
        pairs: (P, 2) int64, prediction and counted object of one class and image, with an OKS of 0.5 or more.
        similarity: (P,) their OKS.
    """

    scores: np.ndarray
    class_ids: np.ndarray
    ignored_similarity: np.ndarray
    positives: np.ndarray
    pairs: np.ndarray
    similarity: np.ndarray

    def match(self, min_oks: float) -> np.ndarray:
        """COCO's matching: (F,) int64, the counted object of each prediction, or -1."""
        ranks = np.empty(len(self.scores), dtype=np.int64)
        ranks[np.argsort(-self.scores, kind="stable")] = np.arange(len(self.scores))
        chosen = self.similarity >= min_oks
        return match_by_rank(ranks, int(self.positives.sum()), self.pairs[chosen], self.similarity[chosen])

    def right_and_counted(self, min_oks: float) -> tuple[np.ndarray, np.ndarray]:
        """(F,) bool, the predictions that match, and those that are not ignored."""
        right = self.match(min_oks) >= 0
        return right, right | (self.ignored_similarity < min_oks)

    def mean_average_precision(self) -> float | None:
        """COCO's average precision by OKS, over classes with objects; None without objects."""
        known = np.flatnonzero(self.positives)
        order = np.argsort(-self.scores, kind="stable")
        values = []
        for min_oks in OKS_THRESHOLDS:
            right, counted = self.right_and_counted(min_oks)
            for k in known:
                rows = order[counted[order] & (self.class_ids[order] == k)]
                values.append(coco_average_precision(right[rows], int(self.positives[k])))
        return float(np.mean(values)) if values else None

    def curves(self) -> list[ScoreCurve]:
        """Precision and recall of each class at an OKS of 0.5."""
        right, counted = self.right_and_counted(OKS_THRESHOLDS[0])
        rows = [counted & (self.class_ids == k) for k in range(len(self.positives))]
        return [
            score_curve(self.scores[part], right[part], int(count))
            for part, count in zip(rows, self.positives, strict=True)
        ]


def object_pairs(
    predicted: Sequence[PredictedRows], true: Sequence[GroundTruthRows], classes: int, sigmas: np.ndarray
) -> ObjectPairs:
    """The pairs of all images.

    Args:
        predicted, true: the objects of each image.
        classes: their number.
        sigmas: (K,) fall-off of each point.
    """
    no_rows = np.zeros(0, dtype=np.int64)
    scores, class_ids, ignored = [np.zeros(0)], [no_rows], [np.zeros(0)]
    pairs, similarities, labels = [np.zeros((0, 2), dtype=np.int64)], [np.zeros(0)], [no_rows]
    first_predicted = first_true = 0
    for rows, ground_truth in zip(predicted, true, strict=True):
        kept = _kept(rows.scores, rows.labels)
        oks = object_similarity(rows.points[kept], ground_truth, sigmas)
        oks = np.where(rows.labels[kept, None] == ground_truth.labels[None], oks, 0)
        counted = oks[:, ground_truth.counted]
        close = np.argwhere(counted >= OKS_THRESHOLDS[0])
        pairs.append(close + np.array([first_predicted, first_true]))
        similarities.append(counted[close[:, 0], close[:, 1]])
        ignored.append(oks[:, ~ground_truth.counted].max(axis=1, initial=0))
        scores.append(rows.scores[kept])
        class_ids.append(rows.labels[kept])
        labels.append(ground_truth.labels[ground_truth.counted])
        first_predicted, first_true = first_predicted + len(kept), first_true + counted.shape[1]
    return ObjectPairs(
        scores=np.concatenate(scores),
        class_ids=np.concatenate(class_ids),
        ignored_similarity=np.concatenate(ignored),
        positives=np.bincount(np.concatenate(labels), minlength=classes),
        pairs=np.concatenate(pairs),
        similarity=np.concatenate(similarities),
    )


def _kept(scores: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """The rows of the best `MAX_OBJECTS` of each class, in their order."""
    if len(scores) <= MAX_OBJECTS:
        return np.arange(len(scores))
    order = np.argsort(-scores, kind="stable")
    return np.sort(np.concatenate([order[labels[order] == k][:MAX_OBJECTS] for k in np.unique(labels)]))
