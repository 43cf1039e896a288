"""The kinds of error of predicted boxes, and what fixing each would gain (numpy only).

Bolya et al., TIDE: A General Toolbox for Identifying Object Detection Errors, ECCV 2020, arXiv 2008.08115. Written from the
paper.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.tasks.detect.box_pairs import MIN_IOU, BoxPairs
from vertebra.tasks.greedy_matching import argmax_by_group
from vertebra.tasks.score_curves import coco_average_precision

MATCH_IOU = 0.5
KINDS = ("classification", "localization", "both", "duplicate", "background", "missed")
CLASSIFICATION, LOCALIZATION, BOTH, DUPLICATE, BACKGROUND, MISSED = range(len(KINDS))
MEANING = (
    f"an object of another class, IoU of {MATCH_IOU} or more",
    f"an object of the class, IoU from {MIN_IOU} to {MATCH_IOU}",
    f"an object of another class, IoU from {MIN_IOU} to {MATCH_IOU}",
    "an object for which a better box was predicted",
    f"no object with an IoU of {MIN_IOU} or more",
    "an object without a box, not even of the first two kinds",
)


@dataclass(frozen=True, eq=False)
class BoxErrors:
    """What is wrong with each box.

    Attributes:
        matches: (F,) int64, the annotated box of each right prediction, or -1.
        ignored: (F,) bool, predictions in a crowd or of a class that is not annotated in the image, which are no errors.
        kinds: (F,) int64 of each wrong prediction; -1 for right and ignored ones.
        targets: (F,) int64, the annotated box that a classification, localization or duplicate error is about; -1 else.
    """

    matches: np.ndarray
    ignored: np.ndarray
    kinds: np.ndarray
    targets: np.ndarray

    def missed(self, count: int, counted: np.ndarray | None = None) -> np.ndarray:
        """The annotated boxes that are missed.

        Args:
            count: number of annotated boxes.
            counted: (F,) bool, the predictions that count; by default all.

        Returns:
            (count,) bool.
        """
        counted = np.ones(len(self.kinds), dtype=bool) if counted is None else counted
        missed = np.ones(count, dtype=bool)
        missed[self.matches[counted & (self.matches >= 0)]] = False
        missed[self.targets[counted & np.isin(self.kinds, (CLASSIFICATION, LOCALIZATION))]] = False
        return missed


def box_errors(boxes: BoxPairs) -> BoxErrors:
    """The kind of error of each predicted box, at an IoU of 0.5."""
    matches = boxes.match(MATCH_IOU)
    ignored = boxes.ignored(matches, MATCH_IOU)
    same, count = boxes.same_class, len(boxes.scores)
    same_iou, same_target = _nearest(boxes, same, count)
    other_iou, other_target = _nearest(boxes, ~same, count)
    conditions = (  # in TIDE's order; the first that holds
        (LOCALIZATION, (same_iou >= MIN_IOU) & (same_iou < MATCH_IOU)),
        (CLASSIFICATION, other_iou >= MATCH_IOU),
        (DUPLICATE, same_iou >= MATCH_IOU),
        (BACKGROUND, np.maximum(same_iou, other_iou) < MIN_IOU),
    )
    kinds = np.select([holds for _, holds in conditions], [kind for kind, _ in conditions], BOTH)
    kinds = np.where((matches >= 0) | ignored, -1, kinds)
    targets = np.select(
        [np.isin(kinds, (LOCALIZATION, DUPLICATE)), kinds == CLASSIFICATION], [same_target, other_target], -1
    )
    return BoxErrors(matches, ignored, kinds, targets)


def _nearest(boxes: BoxPairs, chosen: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The largest IoU (F,) of each predicted box among some pairs, and its annotated box; 0 and -1 without one."""
    pairs, overlaps = boxes.pairs[chosen], boxes.overlaps[chosen]
    largest = argmax_by_group(pairs[:, 0], overlaps, count)
    some = largest >= 0
    return (
        np.where(some, np.append(overlaps, 0)[largest], 0.0),
        np.where(some, np.append(pairs[:, 1], -1)[largest], -1),
    )


def gains(boxes: BoxPairs, errors: BoxErrors, classes: int) -> np.ndarray:
    """What fixing each kind alone would add to the mean average precision at an IoU of 0.5.

    A classification or localization error becomes a right box if it is the best one for an object without a right box, else it
    is removed; errors of the kinds both, duplicate and background are removed; missed objects do not count.

    Returns:
        (6,) float64, 0 to 1, in the order of `KINDS`.
    """
    positives = np.bincount(boxes.true_ids, minlength=classes)
    right, known = errors.matches >= 0, positives > 0
    if not known.any():
        return np.zeros(len(KINDS))
    base = class_average_precisions(boxes.order, boxes.class_ids, right, ~errors.ignored, positives)
    fixed = np.zeros((len(KINDS), classes))
    for kind in range(MISSED):
        wrong = errors.kinds == kind
        class_ids, corrected = boxes.class_ids.copy(), right.copy()
        if kind in (CLASSIFICATION, LOCALIZATION):
            rows = _best_for_free_objects(boxes, errors, wrong)
            corrected[rows] = True
            class_ids[rows] = boxes.true_ids[errors.targets[rows]]
        counted = ~errors.ignored & (corrected | ~wrong)
        fixed[kind] = class_average_precisions(boxes.order, class_ids, corrected, counted, positives)
    left = positives - np.bincount(boxes.true_ids[errors.missed(len(boxes.true_ids))], minlength=classes)
    values = class_average_precisions(boxes.order, boxes.class_ids, right, ~errors.ignored, left)
    predicted = np.bincount(boxes.class_ids[~errors.ignored], minlength=classes) > 0
    fixed[MISSED] = np.where((left == 0) & ~predicted, 1, values)  # 1 where nothing wrong remains
    gained: np.ndarray = (fixed - base)[:, known].mean(axis=1)
    return gained


def _best_for_free_objects(boxes: BoxPairs, errors: BoxErrors, wrong: np.ndarray) -> np.ndarray:
    """Of some wrong boxes, the rows with the best score for each object that has no right box."""
    free = np.ones(len(boxes.true_ids), dtype=bool)
    free[errors.matches[errors.matches >= 0]] = False
    rows = np.flatnonzero(wrong)
    rows = rows[free[errors.targets[rows]]]
    chosen = argmax_by_group(errors.targets[rows], boxes.scores[rows], len(free))
    best_rows: np.ndarray = rows[chosen[chosen >= 0]]
    return best_rows


def class_average_precisions(
    order: np.ndarray, class_ids: np.ndarray, right: np.ndarray, counted: np.ndarray, positives: np.ndarray
) -> np.ndarray:
    """COCO's average precision of each class.

    Args:
        order: (F,) the predictions, best score first.
        class_ids: (F,) of the predictions.
        right: (F,) bool, those that match.
        counted: (F,) bool, those that are not ignored.
        positives: (K,) annotated objects of each class.

    Returns:
        (K,) float64, 0 for a class without objects.
    """
    rows = order[counted[order]]
    small = np.min_scalar_type(len(positives))  # of 16 bits at most for most data sets, which sorts fast
    rows = rows[np.argsort(class_ids[rows].astype(small), kind="stable")]
    starts = np.searchsorted(class_ids[rows], np.arange(len(positives) + 1))
    correct = right[rows]
    return np.array(
        [coco_average_precision(correct[starts[k] : starts[k + 1]], int(positives[k])) for k in range(len(positives))]
    )
