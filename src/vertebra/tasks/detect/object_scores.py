"""The scores of an image's boxes, for thresholds and calibration (numpy only)."""

from __future__ import annotations

import numpy as np

from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.box_pairs import BoxPairs, pairs_of_image
from vertebra.tasks.detect.error_kinds import MATCH_IOU
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.object_scores import MISSED, Confidences, ObjectScores, decision_confidences


def object_scores(prediction: DetectPrediction, annotation: DetectAnnotation) -> ObjectScores:
    """The scores of the boxes that match annotated ones of their class with an IoU of 0.5 or more, best box first, and of the
    others; crowds are no objects, and boxes in them are not wrong.

    The matching does not depend on a threshold: a threshold only takes boxes with lower scores away, which match after those with
    higher ones.
    """
    return scores_of_pairs(pairs_of_image(prediction, annotation))


def confidences(prediction: DetectPrediction, annotation: DetectAnnotation) -> Confidences:
    """The scores of all boxes but those in crowds, and which of them match."""
    return confidences_of_pairs(pairs_of_image(prediction, annotation))


def scores_of_pairs(pairs: BoxPairs) -> ObjectScores:
    """`object_scores` of the objects of one image."""
    matches = pairs.match(MATCH_IOU)
    true_scores = np.full(len(pairs.true_ids), MISSED)
    true_scores[matches[matches >= 0]] = pairs.scores[matches >= 0]
    wrong = (matches < 0) & ~pairs.ignored(matches, MATCH_IOU)
    return ObjectScores(pairs.true_ids, true_scores, pairs.class_ids[wrong], pairs.scores[wrong].astype(np.float64))


def confidences_of_pairs(pairs: BoxPairs) -> Confidences:
    """`confidences` of the objects of one image."""
    matches = pairs.match(MATCH_IOU)
    counted = ~pairs.ignored(matches, MATCH_IOU)
    return decision_confidences(pairs.scores[counted], matches[counted] >= 0)
