"""The scores of an image's poses, for thresholds (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.oks import OKS_THRESHOLDS, object_pairs
from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.object_scores import MISSED, ObjectScores


def object_scores(prediction: KeypointPrediction, annotation: KeypointAnnotation) -> ObjectScores:
    """The scores of the objects that match annotated ones of their class with an object keypoint similarity of 0.5 or more, best
    object first, and of the others; crowds and objects without labeled points do not count."""
    spec = prediction.spec
    true = GroundTruthRows.unpack(GroundTruthRows.pack(annotation, np.ones(len(annotation.labels))), len(spec.points))
    predicted = PredictedRows(prediction.points.astype(np.float64), prediction.scores, prediction.class_ids)
    pairs = object_pairs([predicted], [true], spec.class_count, np.array(spec.oks_sigmas))
    true_ids = true.labels[true.counted]
    matches = pairs.match(OKS_THRESHOLDS[0])
    true_scores = np.full(len(true_ids), MISSED)
    true_scores[matches[matches >= 0]] = pairs.scores[matches >= 0]
    wrong = (matches < 0) & (pairs.ignored_similarity < OKS_THRESHOLDS[0])
    return ObjectScores(true_ids, true_scores, pairs.class_ids[wrong], pairs.scores[wrong].astype(np.float64))
