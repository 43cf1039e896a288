"""Annotated boxes that are likely wrong (numpy only).

The four kinds are those of Tkachenko et al., ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data,
2023, arXiv 2309.00832, and one for boxes that nothing supports; differences: a prediction is confident if its score reaches the
mean score of the right predictions of its class, as in confident learning, and each object is listed by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.box_iou import greedy_nms, iou
from vertebra.tasks.confident_learning import MAX_LISTED, likeliest_first
from vertebra.tasks.detect.box_pairs import BoxPairs
from vertebra.tasks.detect.error_kinds import BACKGROUND, MATCH_IOU, BoxErrors
from vertebra.tasks.diagnosis import LikelyWrongLabel
from vertebra.tasks.greedy_matching import argmax_by_group

BADLY_LOCATED_IOU = (0.3, 0.6)
SUPPORT_IOU = 0.4  # of a prediction that supports an annotated box, whatever its class
SUPPORT_SCORE = 0.1
ROUNDING = 1e-6  # of scores in float32


def wrong_boxes(boxes: BoxPairs, errors: BoxErrors, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """Missing objects, objects of a wrong class, badly located boxes, and boxes without an object; each object once.

    Args:
        boxes: of all images.
        errors: of these.
        names: of the classes.
    """
    confident = boxes.scores >= confident_scores(boxes, errors, len(names))[boxes.class_ids] - ROUNDING
    doubted: dict[int, LikelyWrongLabel] = {}
    for row, entry in (
        *_wrong_class(boxes, confident, errors, names),
        *_badly_located(boxes, confident, names),
        *_unsupported(boxes, names),
    ):
        if row not in doubted or doubted[row].confidence < entry.confidence:
            doubted[row] = entry
    return likeliest_first([*_missing(boxes, confident, errors, names), *doubted.values()])


def confident_scores(boxes: BoxPairs, errors: BoxErrors, classes: int) -> np.ndarray:
    """The mean score (K,) of the right predictions of each class; infinite without one."""
    right = errors.matches >= 0
    counts = np.bincount(boxes.class_ids[right], minlength=classes)
    totals = np.bincount(boxes.class_ids[right], boxes.scores[right], minlength=classes)
    return np.where(counts > 0, totals / np.maximum(counts, 1), np.inf)


def _likeliest(confidence: np.ndarray) -> np.ndarray:
    """The rows (n,) with the largest confidence above 0, as many as are listed; the likeliest first."""
    order = np.argsort(-confidence, kind="stable")[:MAX_LISTED]
    likeliest: np.ndarray = order[confidence[order] > 0]
    return likeliest


def _entry(boxes: BoxPairs, image: int, confidence: float, text: str, box: np.ndarray) -> LikelyWrongLabel:
    x1, y1, x2, y2 = box.tolist()
    return LikelyWrongLabel(int(image), float(np.clip(confidence, 0, 1)), text, (x1, y1, x2, y2))


def _missing(boxes: BoxPairs, confident: np.ndarray, errors: BoxErrors, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """Confident predictions where nothing is annotated, no crowd either; one for each object."""
    rows = np.flatnonzero(confident & (errors.kinds == BACKGROUND) & (boxes.any_crowd_share < MATCH_IOU))
    kept = rows[_without_duplicates(boxes, rows)]
    kept = kept[_likeliest(boxes.scores[kept])]
    return [
        _entry(
            boxes,
            boxes.box_images[row],
            boxes.scores[row],
            f"not labeled, predicted {names[boxes.class_ids[row]]} ({boxes.scores[row]:.2f})",
            boxes.boxes[row],
        )
        for row in kept
    ]


def _without_duplicates(boxes: BoxPairs, rows: np.ndarray) -> np.ndarray:
    """Of some predictions in image order, (N,) bool: those that overlap no better one of the same image."""
    images = boxes.box_images[rows]
    starts = np.searchsorted(images, images)
    earlier = np.arange(len(rows)) - starts  # pairs of each row with the rows of its image before it
    second = np.repeat(np.arange(len(rows)), earlier)
    first = np.arange(len(second)) - np.repeat(np.cumsum(earlier) - earlier, earlier) + starts[second]
    pairs = np.stack([first, second], axis=1)
    pairs = pairs[iou(boxes.boxes[rows[first]], boxes.boxes[rows[second]]) >= MATCH_IOU]
    return greedy_nms(boxes.ranks[rows], pairs)


def _wrong_class(
    boxes: BoxPairs, confident: np.ndarray, errors: BoxErrors, names: Sequence[str]
) -> list[tuple[int, LikelyWrongLabel]]:
    """Objects on which another class is predicted with confidence; less likely wrong if their own is predicted, too."""
    usable = confident[boxes.pairs[:, 0]] & (errors.matches[boxes.pairs[:, 0]] < 0)
    usable &= ~boxes.same_class & (boxes.overlaps >= MATCH_IOU) & boxes.exhaustive[boxes.pairs[:, 0]]
    pairs = boxes.pairs[usable]
    own_scores = np.zeros(len(boxes.true_ids))
    matched = np.flatnonzero(errors.matches >= 0)
    own_scores[errors.matches[matched]] = boxes.scores[matched]
    strongest = argmax_by_group(pairs[:, 1], boxes.scores[pairs[:, 0]], len(boxes.true_ids))
    rows, true_rows = pairs[strongest[strongest >= 0]].T
    scores = boxes.scores[rows].astype(np.float64)
    confidence = np.where(scores > own_scores[true_rows], scores * (1 - own_scores[true_rows]), 0)
    listed = []
    for number in _likeliest(confidence):
        row, true = rows[number], true_rows[number]
        text = f"labeled {names[boxes.true_ids[true]]}, predicted {names[boxes.class_ids[row]]} ({scores[number]:.2f})"
        entry = _entry(boxes, boxes.true_images[true], confidence[number], text, boxes.true_boxes[true])
        listed.append((int(true), entry))
    return listed


def _badly_located(boxes: BoxPairs, confident: np.ndarray, names: Sequence[str]) -> list[tuple[int, LikelyWrongLabel]]:
    """Objects whose nearest prediction of their class is confident, overlaps them a little and no other of their class more."""
    low, high = BADLY_LOCATED_IOU
    pairs, overlaps = boxes.pairs[boxes.same_class], boxes.overlaps[boxes.same_class]
    nearest_box = argmax_by_group(pairs[:, 1], overlaps, len(boxes.true_ids))
    nearest_true = argmax_by_group(pairs[:, 0], overlaps, len(boxes.scores))
    chosen = nearest_box[nearest_box >= 0]
    chosen = chosen[nearest_true[pairs[chosen, 0]] == chosen]
    rows, true_rows = pairs[chosen].T
    scores, overlap = boxes.scores[rows].astype(np.float64), overlaps[chosen]
    doubtful = (low <= overlap) & (overlap < high) & confident[rows]
    confidence = np.where(doubtful, scores * (1 - overlap), 0)
    listed = []
    for number in _likeliest(confidence):
        true, name = true_rows[number], names[boxes.true_ids[true_rows[number]]]
        text = f"box of {name} overlaps the prediction ({scores[number]:.2f}) with an IoU of {overlap[number]:.2f} only"
        entry = _entry(boxes, boxes.true_images[true], confidence[number], text, boxes.true_boxes[true])
        listed.append((int(true), entry))
    return listed


def _unsupported(boxes: BoxPairs, names: Sequence[str]) -> list[tuple[int, LikelyWrongLabel]]:
    """Objects where nothing of any class is predicted; likelier wrong in a class whose objects are mostly predicted."""
    support = np.zeros(len(boxes.true_ids))
    predicted, true_rows = boxes.pairs[boxes.overlaps >= SUPPORT_IOU].T
    np.maximum.at(support, true_rows, boxes.scores[predicted].astype(np.float64))
    supported = support >= SUPPORT_SCORE
    counts = np.bincount(boxes.true_ids, minlength=len(names))
    share = np.bincount(boxes.true_ids, supported, minlength=len(names)) / np.maximum(counts, 1)
    confidence = np.where(supported, 0, share[boxes.true_ids] * (1 - support))
    listed = []
    for true in _likeliest(confidence):
        text = f"labeled {names[boxes.true_ids[true]]}, nothing predicted there"
        entry = _entry(boxes, boxes.true_images[true], confidence[true], text, boxes.true_boxes[true])
        listed.append((int(true), entry))
    return listed
