"""Metrics and reports of images in which only some classes are annotated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vertebra.tasks import get_task
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction

LABELS = DetectLabels(("a", "b"))
HERE, THERE = [10, 10, 50, 50], [100, 100, 150, 150]


def measured(task: str, labels: Any, predictions: list[Any], annotations: list[Any]) -> dict[str, float]:
    metric = get_task(task).metric(labels)
    metric.update(predictions, annotations)
    values: dict[str, float] = metric.compute()
    return values


def boxes(*listed: tuple[list[int], float, int]) -> DetectPrediction:
    each = zip(*listed, strict=True)
    corners, scores, ids = (np.array(values) for values in each)
    return DetectPrediction(corners.astype(np.float32), scores.astype(np.float32), ids, LABELS)


def truth(label: int, exhaustive: list[bool] | None) -> DetectAnnotation:
    scope = None if exhaustive is None else np.array(exhaustive)
    return DetectAnnotation(
        np.array([HERE], dtype=np.float32), np.array([label]), np.zeros(1, dtype=bool), exhaustive=scope
    )


PREDICTED = [boxes((THERE, 0.9, 0), (HERE, 0.8, 0), (THERE, 0.97, 1)), boxes((HERE, 0.9, 1), (THERE, 0.95, 1))]


@pytest.mark.parametrize(
    ("first", "second", "a", "b"),
    [
        (None, None, 0.5, 1 / 3),
        ([True, True], [True, True], 0.5, 1 / 3),  # as without a scope
        ([False, True], None, 1.0, 1 / 3),  # a without all objects: the match counts, the other prediction does not
        ([True, False], None, 0.5, 0.5),  # b is not annotated in the first image
        ([False, False], [False, False], 1.0, 1.0),
    ],
)
def test_boxes(first: list[bool] | None, second: list[bool] | None, a: float, b: float) -> None:
    values = measured("detect", LABELS, PREDICTED, [truth(0, first), truth(1, second)])
    assert values["map/a"] == pytest.approx(a, abs=0.01) and values["map/b"] == pytest.approx(b, abs=0.01)
    assert values["map_50"] == pytest.approx((a + b) / 2, abs=0.01)


def test_the_report_on_boxes_does_not_count_what_is_not_annotated() -> None:
    make = get_task("detect").diagnoser
    assert make is not None
    texts = []
    for scope in (None, [True, False]):
        diagnoser = make(LABELS)
        diagnoser.update(PREDICTED[:1], [truth(0, scope)])
        diagnosis = diagnoser.compute()
        counts = next(block for block in diagnosis.blocks if getattr(block, "title", "").startswith("Kinds")).rows
        texts.append({row[0]: row[2] for row in counts})
    assert texts[0]["background"] == 2 and texts[1]["background"] == 1
    scores = get_task("detect").object_scores
    assert scores is not None
    assert scores(PREDICTED[0], truth(0, [True, False])).false_ids.tolist() == [0]


def test_classes_of_images() -> None:
    labels = ClassifyLabels(("a", "b"), multilabel=True)
    predictions = [ClassifyPrediction(np.array(row, dtype=np.float32), labels) for row in ([0.9, 0.8], [0.7, 0.6])]
    annotations = [ClassifyAnnotation(np.array([1, 0])), ClassifyAnnotation(np.array([0, 1]))]
    partial = [ClassifyAnnotation(np.array([1, 0]), np.array([True, False])), annotations[1]]
    whole = [ClassifyAnnotation(each.label, np.ones(2, dtype=bool)) for each in annotations]
    ordinary = measured("classify", labels, predictions, annotations)
    assert measured("classify", labels, predictions, whole) == ordinary
    assert ordinary["map/b"] == 0.5 and ordinary["accuracy"] == 0.5
    values = measured("classify", labels, predictions, partial)
    assert values["map/b"] == 1 and values["f1/b"] == 1 and values["map/a"] == 1
    assert values["accuracy"] == pytest.approx(2 / 3)
    scores = get_task("classify").object_scores
    make = get_task("classify").diagnoser
    assert scores is not None and make is not None
    assert scores(predictions[0], partial[0]).false_ids.tolist() == []
    diagnoser = make(labels)
    diagnoser.update(predictions, partial)
    diagnosis = diagnoser.compute()
    assert diagnosis.image_losses.tolist() == pytest.approx([-np.log(0.9), -(np.log(0.3) + np.log(0.6)) / 2], abs=1e-6)
    assert list(diagnosis.image_texts) == ["all classes right", "not annotated: a (0.70)"]


def test_pixels_of_exclusive_classes() -> None:
    """Class 1 of 0, 1 and 2 is annotated. Of four pixels the first two are class 1, the others none."""
    labels = SegmentLabels(("background", "a", "b"))
    answer = SegmentPrediction(np.array([[1, 2, 1, 2]], dtype=np.uint8), labels)
    none = labels.unannotated
    partial = SegmentAnnotation(np.array([[1, 1, none, none]], dtype=np.uint8), np.array([False, True, False]))
    values = measured("segment", labels, [answer], [partial])
    assert values == pytest.approx({"mean_iou": 1 / 3, "mean_dice": 0.5, "pixel_accuracy": 0.5, "iou/a": 1 / 3})
    whole = SegmentAnnotation(np.array([[1, 1, 0, 2]], dtype=np.uint8))
    listed = SegmentAnnotation(whole.mask, np.ones(3, dtype=bool))
    assert measured("segment", labels, [answer], [listed]) == measured("segment", labels, [answer], [whole])
    make = get_task("segment").diagnoser
    assert make is not None
    diagnoser = make(labels)
    diagnoser.update([answer], [partial])
    assert "a taken for b" in diagnoser.compute().image_texts[0]
