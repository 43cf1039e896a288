"""What a report shows of a model that detects objects (numpy only)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from vertebra.tasks.base import LabelSpec
from vertebra.tasks.box_iou import areas
from vertebra.tasks.calibration import bin_totals, reliability_chart
from vertebra.tasks.detect.box_pairs import BoxPairs, concatenate, pairs_of_image
from vertebra.tasks.detect.error_kinds import (
    KINDS,
    MATCH_IOU,
    MEANING,
    MISSED,
    BoxErrors,
    box_errors,
    class_average_precisions,
    gains,
)
from vertebra.tasks.detect.image_errors import image_losses, image_texts
from vertebra.tasks.detect.wrong_labels import wrong_boxes
from vertebra.tasks.diagnosis import BarChart, Block, Cell, Diagnosis, LineChart, Matrix, Table
from vertebra.tasks.score_curves import ScoreCurve, best_thresholds, f1_chart, precision_recall_chart, score_curve

IOU_THRESHOLDS = np.linspace(0.5, 0.95, 10)
DEFAULT_THRESHOLD = 0.5  # of a class without a right box
SIZES = (("small, below 32 x 32", 0.0), ("medium, below 96 x 96", 32.0**2), ("large", 96.0**2))
ADVICE = (
    "The confusion matrix shows which classes are confused: label more images of these, or merge them.",
    "Take a larger canvas (--image-size), and check whether the annotated boxes are tight.",
    "Train for longer, or label more images.",
    "Lower decoder.postprocess.nms_iou.",
    "Add images without objects that resemble the false alarms, and check whether objects are not labeled.",
    "Take a larger canvas (--image-size) if 'Objects by size' shows that small ones are missed; else label more images like those.",
)
RIGHT = f"A box is right if it matches an object of its class with an IoU of {MATCH_IOU} or more."


class DetectDiagnosis:
    """Compares predicted boxes with annotated ones; predictions in crowds are no errors.

    The loss of an image is 1 - F1 in which each box counts with its score, see `vertebra.tasks.detect.image_errors`.

    Args:
        labels: the classes.
        pairs: returns the objects and pairs of one image from its prediction and its annotation, for objects that overlap by more
            than their boxes.
        right: what a right object is, for the texts.
    """

    def __init__(
        self, labels: LabelSpec, pairs: Callable[[Any, Any], BoxPairs] = pairs_of_image, right: str = RIGHT
    ) -> None:
        self.names, self.pairs, self.right = labels.classes, pairs, right
        self.images: list[BoxPairs] = []

    def update(self, predictions: Sequence[Any], ground_truths: Sequence[Any]) -> None:
        """Adds the predictions of some images, with all scores, and their annotations, in the same order."""
        self.images += map(self.pairs, predictions, ground_truths)

    def compute(self) -> Diagnosis:
        """The diagnosis of all images added so far."""
        boxes, names = concatenate(self.images), self.names
        errors = box_errors(boxes)
        curves = _curves(boxes, errors, len(names))
        thresholds = best_thresholds(names, curves)
        minimum = np.array([thresholds.get(name, DEFAULT_THRESHOLD) for name in names])
        counted = boxes.scores >= minimum[boxes.class_ids]
        blocks: list[Block] = [
            _class_table(names, boxes, errors, curves, self.right),
            *_error_charts(boxes, errors, len(names)),
            _confusion_matrix(names, boxes, errors, counted),
            precision_recall_chart(names, curves, self.right),
            f1_chart(names, curves, self.right),
            _reliability(boxes, errors),
            _size_table(boxes, errors, counted, self.right),
        ]
        return Diagnosis(
            blocks,
            image_losses(boxes, errors, minimum),
            image_texts(boxes, errors, counted),
            thresholds,
            wrong_boxes(boxes, errors, names),
        )


def _curves(boxes: BoxPairs, errors: BoxErrors, classes: int) -> list[ScoreCurve]:
    """Precision and recall of each class."""
    positives = np.bincount(boxes.true_ids, minlength=classes)
    rows = np.flatnonzero(~errors.ignored)
    rows = rows[np.argsort(boxes.class_ids[rows], kind="stable")]
    starts = np.searchsorted(boxes.class_ids[rows], np.arange(classes + 1))
    parts = [rows[starts[k] : starts[k + 1]] for k in range(classes)]
    right = errors.matches >= 0
    return [
        score_curve(boxes.scores[part], right[part], int(count)) for part, count in zip(parts, positives, strict=True)
    ]


def _class_table(
    names: Sequence[str], boxes: BoxPairs, errors: BoxErrors, curves: Sequence[ScoreCurve], right: str
) -> Table:
    """One row a class."""
    positives = np.bincount(boxes.true_ids, minlength=len(names))
    by_iou = []
    for min_iou in IOU_THRESHOLDS:
        matches = errors.matches if min_iou == MATCH_IOU else boxes.match(min_iou)
        counted = ~boxes.ignored(matches, min_iou)
        by_iou.append(class_average_precisions(boxes.order, boxes.class_ids, matches >= 0, counted, positives))
    averages = (np.mean(by_iou, axis=0), by_iou[0], by_iou[5])
    rows: list[list[Cell]] = []
    for k, (name, curve) in enumerate(zip(names, curves, strict=True)):
        values: list[Cell] = [float(average[k]) if positives[k] else None for average in averages]
        ratios: list[Cell] = [None, None, None]
        if curve.row is not None:
            ratios = [float(value[curve.row]) for value in (curve.precision, curve.recall, curve.f1)]
        rows.append([name, int(positives[k]), *values, *ratios, curve.threshold])
    columns = ["class", "objects", "AP", "AP50", "AP75", "precision", "recall", "F1", "best threshold"]
    text = f"AP is COCO's. Precision, recall and F1 are those at the score threshold with the best F1. {right}"
    return Table("Classes", columns, rows, text)


def _error_charts(boxes: BoxPairs, errors: BoxErrors, classes: int) -> list[Block]:
    """What fixing each kind of error would gain, and how many errors of each kind there are."""
    gained = 100 * gains(boxes, errors, classes)
    counts = np.bincount(errors.kinds[errors.kinds >= 0], minlength=len(KINDS))
    counts[MISSED] = errors.missed(len(boxes.true_ids)).sum()
    text = "How much AP50 would rise if all errors of one kind alone were fixed (TIDE); the longest bar is the first to work on."
    bars = dict(zip(KINDS, gained.tolist(), strict=True))
    rows = [list(row) for row in zip(KINDS, MEANING, counts.tolist(), gained.tolist(), strict=True)]
    columns = ["kind", "the box is on", "boxes of any score", "points of AP50"]
    return [
        BarChart(
            "What fixing each kind of error would gain",
            bars,
            "points of AP50",
            text,
            dict(zip(KINDS, ADVICE, strict=True)),
        ),
        Table("Kinds of error", columns, rows, "Boxes of any score count, so that those with low scores prevail."),
    ]


def _confusions(boxes: BoxPairs, errors: BoxErrors, counted: np.ndarray, classes: int) -> np.ndarray:
    """(K + 1, K + 1) objects by annotated and predicted class, background last, of the predictions that count."""
    right = counted & (errors.matches >= 0)
    free_box = counted & ~right & ~errors.ignored
    free_true = np.ones(len(boxes.true_ids), dtype=bool)
    free_true[errors.matches[right]] = False
    predicted, true = boxes.pairs.T
    wrong = boxes.match(MATCH_IOU, free_box[predicted] & free_true[true])
    confused = wrong >= 0
    free_true[wrong[confused]] = False
    alone = boxes.class_ids[free_box & ~confused]
    counts = np.zeros((classes + 1, classes + 1), dtype=np.int64)
    np.add.at(counts, (boxes.class_ids[right], boxes.class_ids[right]), 1)
    np.add.at(counts, (boxes.true_ids[wrong[confused]], boxes.class_ids[confused]), 1)
    counts[-1, :-1] = np.bincount(alone, minlength=classes)
    counts[:-1, -1] = np.bincount(boxes.true_ids[free_true], minlength=classes)
    return counts


def _confusion_matrix(names: Sequence[str], boxes: BoxPairs, errors: BoxErrors, counted: np.ndarray) -> Matrix:
    text = (
        f"Boxes that reach the best threshold of their class, or {DEFAULT_THRESHOLD} for a class without a right box. The "
        "column 'background' holds missed objects, the row 'background' boxes that match no object."
    )
    rows, counts = [*names, "background"], _confusions(boxes, errors, counted, len(names))
    return Matrix("Confusion matrix (objects)", "ground truth", "prediction", rows, rows, counts, text)


def _reliability(boxes: BoxPairs, errors: BoxErrors) -> LineChart:
    judged = ~errors.ignored
    totals = bin_totals(boxes.scores[judged], errors.matches[judged] >= 0)
    return reliability_chart(totals, "score of a box", "share of right boxes")


def _size_table(boxes: BoxPairs, errors: BoxErrors, counted: np.ndarray, right: str) -> Table:
    """How many objects of each size are detected, and what happens to the others."""
    area = areas(boxes.true_boxes)
    bands = np.searchsorted([low for _, low in SIZES], area, side="right") - 1
    detected = np.zeros(len(area), dtype=bool)
    detected[errors.matches[counted & (errors.matches >= 0)]] = True
    at_any_score = np.zeros(len(area), dtype=bool)
    at_any_score[errors.matches[errors.matches >= 0]] = True
    missed = errors.missed(len(area), counted)
    rows: list[list[Cell]] = []
    for band, (name, _) in enumerate(SIZES):
        objects = bands == band
        count = int(objects.sum())
        recalls: list[Cell] = [float(part[objects].mean()) if count else None for part in (detected, at_any_score)]
        wrong = int((objects & ~detected & ~missed).sum())
        rows.append([name, count, *recalls, int((objects & missed).sum()), wrong])
    columns = ["size in pixels", "objects", "recall", "recall at any score", "missed", "wrong class or badly located"]
    return Table("Objects by size", columns, rows, f"Sizes are COCO's, by the area of the box. {right}")
