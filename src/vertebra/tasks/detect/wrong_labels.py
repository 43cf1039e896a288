"""Annotated boxes that are likely wrong (numpy only).

The four kinds are those of Tkachenko et al., ObjectLab: Automated Diagnosis of Mislabeled Images in Object Detection Data,
2023, arXiv 2309.00832, and one for boxes that nothing supports; differences: a prediction is confident if its score reaches the
mean score of the right predictions of its class, as in confident learning, and each object is listed by itself.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.tasks.box_iou import greedy_nms, iou
from vertebra.tasks.confident_learning import likeliest_first
from vertebra.tasks.detect.box_pairs import BoxPairs
from vertebra.tasks.detect.error_kinds import BACKGROUND, MATCH_IOU, BoxErrors
from vertebra.tasks.diagnosis import LikelyWrongLabel
from vertebra.tasks.greedy_matching import argmax_by_group

BADLY_LOCATED_IOU = (0.3, 0.6)
UNSUPPORTED_SCORE = 0.1  # a lower score is no support of an annotated box


def wrong_boxes(boxes: BoxPairs, errors: BoxErrors, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """Missing objects, objects of a wrong class, badly located boxes, and boxes without an object; each object once.

    Args:
        boxes: of all images.
        errors: of these.
        names: of the classes.
    """
    confident = boxes.scores >= confident_scores(boxes, errors, len(names))[boxes.class_ids]
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


def _entry(boxes: BoxPairs, image: int, confidence: float, text: str, box: np.ndarray) -> LikelyWrongLabel:
    x1, y1, x2, y2 = box.tolist()
    return LikelyWrongLabel(int(image), float(np.clip(confidence, 0, 1)), text, (x1, y1, x2, y2))


def _missing(boxes: BoxPairs, confident: np.ndarray, errors: BoxErrors, names: Sequence[str]) -> list[LikelyWrongLabel]:
    """Confident predictions where nothing is annotated, no crowd either; one for each object."""
    rows = np.flatnonzero(confident & (errors.kinds == BACKGROUND) & (boxes.any_crowd_share < MATCH_IOU))
    kept = rows[_without_duplicates(boxes, rows)]
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
    usable &= ~boxes.same_class & (boxes.overlaps >= MATCH_IOU)
    pairs = boxes.pairs[usable]
    own_scores = np.zeros(len(boxes.true_ids))
    matched = np.flatnonzero(errors.matches >= 0)
    own_scores[errors.matches[matched]] = boxes.scores[matched]
    strongest = argmax_by_group(pairs[:, 1], boxes.scores[pairs[:, 0]], len(boxes.true_ids))
    listed = []
    for row, true in pairs[strongest[strongest >= 0]]:
        score = float(boxes.scores[row])
        if score > own_scores[true]:
            text = f"labeled {names[boxes.true_ids[true]]}, predicted {names[boxes.class_ids[row]]} ({score:.2f})"
            confidence = score * (1 - own_scores[true])
            listed.append((int(true), _entry(boxes, boxes.true_images[true], confidence, text, boxes.true_boxes[true])))
    return listed


def _badly_located(boxes: BoxPairs, confident: np.ndarray, names: Sequence[str]) -> list[tuple[int, LikelyWrongLabel]]:
    """Objects whose nearest prediction of their class is confident, overlaps them a little and no other of their class more."""
    low, high = BADLY_LOCATED_IOU
    pairs, overlaps = boxes.pairs[boxes.same_class], boxes.overlaps[boxes.same_class]
    nearest_box = argmax_by_group(pairs[:, 1], overlaps, len(boxes.true_ids))
    nearest_true = argmax_by_group(pairs[:, 0], overlaps, len(boxes.scores))
    listed = []
    for pair in nearest_box[nearest_box >= 0]:
        row, true = pairs[pair]
        if low <= overlaps[pair] < high and confident[row] and nearest_true[row] == pair:
            score = float(boxes.scores[row])
            name = names[boxes.true_ids[true]]
            text = f"box of {name} overlaps the prediction ({score:.2f}) with an IoU of {overlaps[pair]:.2f} only"
            confidence = score * (1 - overlaps[pair])
            listed.append((int(true), _entry(boxes, boxes.true_images[true], confidence, text, boxes.true_boxes[true])))
    return listed


def _unsupported(boxes: BoxPairs, names: Sequence[str]) -> list[tuple[int, LikelyWrongLabel]]:
    """Objects where nothing of any class is predicted; likelier wrong in a class whose objects are mostly predicted."""
    support = np.zeros(len(boxes.true_ids))
    np.maximum.at(support, boxes.pairs[:, 1], boxes.scores[boxes.pairs[:, 0]].astype(np.float64))
    supported = support >= UNSUPPORTED_SCORE
    counts = np.bincount(boxes.true_ids, minlength=len(names))
    share = np.bincount(boxes.true_ids, supported, minlength=len(names)) / np.maximum(counts, 1)
    listed = []
    for true in np.flatnonzero(~supported):
        kind = boxes.true_ids[true]
        text = f"labeled {names[kind]}, nothing predicted there"
        confidence = share[kind] * (1 - support[true])
        listed.append((int(true), _entry(boxes, boxes.true_images[true], confidence, text, boxes.true_boxes[true])))
    return listed
