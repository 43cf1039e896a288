"""Which predicted boxes match labeled objects, and the probabilities of their values (numpy only)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.box_iou import iou
from vertebra.tasks.greedy_matching import match_by_rank
from vertebra.tasks.object_scores import Confidences, class_confidences, decision_confidences

MATCH_IOU = 0.5


class MatchedBoxes(NamedTuple):
    """Pairs of a predicted box and a labeled object of its class that it overlaps with an IoU of 0.5 or more; the box with the best
    score first, each box and each object at most once.

    Attributes:
        boxes: (P,) rows of the prediction.
        objects: (P,) rows of the annotation.
    """

    boxes: np.ndarray
    objects: np.ndarray


def matched_boxes(prediction: AttributePrediction, annotation: AttributeAnnotation) -> MatchedBoxes:
    """The pairs of one image; crowds, and objects that are not labeled for the attribute, are in none."""
    objects = annotation.objects
    true = np.flatnonzero(~objects.crowd)
    overlaps = iou(prediction.boxes[:, None].astype(np.float64), objects.boxes[true][None].astype(np.float64))
    same = prediction.box_class_ids[:, None] == objects.labels[true][None]
    pairs = np.argwhere((overlaps >= MATCH_IOU) & same)
    ranks = np.empty(len(prediction), dtype=np.int64)
    ranks[np.argsort(-prediction.box_scores, kind="stable")] = np.arange(len(prediction))
    matches = match_by_rank(ranks, len(true), pairs, overlaps[pairs[:, 0], pairs[:, 1]])
    boxes = np.flatnonzero(matches >= 0)
    rows = true[matches[boxes]]
    labeled = annotation.known[rows]
    return MatchedBoxes(boxes[labeled], rows[labeled])


def confidences(prediction: AttributePrediction, annotation: AttributeAnnotation) -> Confidences:
    """The probabilities of the matched boxes: a row for each, or with several values a row for each of these."""
    boxes, objects = matched_boxes(prediction, annotation)
    probabilities, values = prediction.probabilities[boxes], annotation.values[objects]
    if prediction.spec.multilabel:
        return decision_confidences(probabilities.reshape(-1), values.reshape(-1) > 0)
    return class_confidences(probabilities, values)
