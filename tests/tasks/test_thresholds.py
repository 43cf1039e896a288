"""Stored thresholds by class: what they pick in each task, and what a given one overrides; scores of objects and pixels."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tests.inference.painted import CORNERS, Painted, paint
from vertebra.errors import ConfigError, UnknownName
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.crops import merge_crops
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.object_scores import confidences, object_scores
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.crops import Crops
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.object_scores import confidences as box_confidences
from vertebra.tasks.detect.object_scores import object_scores as box_scores
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.object_scores import object_scores as pose_scores
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.object_scores import MISSED
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.object_scores import confidences as pixel_confidences
from vertebra.tasks.segment.types import SegmentPrediction
from vertebra.tasks.thresholds import checked_thresholds

RECTANGLES = [
    (2, 2, 12, 12, 0),
    (20, 2, 30, 12, 0),
    (40, 2, 50, 12, 1),
    (60, 2, 70, 12, 1),
]  # scores 0.87, 0.84, 0.81, 0.78
STORED = {"boxes": {"a": 0.85, "b": 0.5}, "corners": {"b": 0.8}}


@pytest.mark.parametrize("options", [{}, {"tile": 48}, {"flip": True}, {"tile": 48, "flip": True}], ids=str)
def test_the_models_thresholds_are_used_unless_one_is_given(options: dict[str, Any]) -> None:
    picture = paint((48, 80), RECTANGLES)
    names = ("boxes", "corners")
    (result,) = Painted((48, 80), names, STORED, **options).predict(picture)
    assert sorted(result["boxes"].class_names) == ["a", "b", "b"] and result["boxes"].draw_threshold == 0.5
    assert sorted(result["corners"].class_names) == ["a", "a", "b"], "the other class has the default"
    assert len(next(Painted((48, 80), names, STORED, **options).stream([picture]))["boxes"]) == 3
    (result,) = Painted((48, 80), names, STORED, threshold=0.8, **options).predict(picture)
    assert sorted(result["boxes"].class_names) == ["a", "a", "b"] == sorted(result["corners"].class_names)
    (result,) = Painted((48, 80), names, **options).predict(picture)
    assert len(result["boxes"]) == 4 and result["boxes"].draw_threshold == 0.3


@pytest.mark.parametrize("options", [{}, {"tile": 40}, {"probabilities": True}], ids=str)
def test_pixels_of_overlapping_classes_have_thresholds(options: dict[str, Any]) -> None:
    class Doubtful(Painted):
        def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Any:
            return {name: [0.4 * field for field in fields] for name, fields in super().run(canvases, sizes).items()}

    picture = paint((48, 80), RECTANGLES)
    shares = []
    for stored, more in (({"a": 0.3}, {}), ({}, {}), ({"a": 0.3}, {"threshold": 0.1})):
        (result,) = Doubtful((48, 80), ("layers",), {"layers": stored} if stored else {}, **options, **more).predict(
            picture
        )
        shares.append(result["layers"].share)
    assert shares[0]["a"] > 0 == shares[0]["b"] and not any(shares[1].values())
    assert not any(shares[2].values()), "a given threshold is for objects; pixels then have the default"


def test_accepted_classes() -> None:
    probabilities = np.array([0.2, 0.7, 0.1], dtype=np.float32)
    exclusive = ClassifyPrediction(probabilities, ClassifyLabels(("a", "b", "c")))
    assert exclusive.accepted.class_names == ["b"] and "accepted" not in exclusive.to_dict()
    stored = exclusive.apply_threshold(np.array([0.15, 0.8, 0.1]))
    assert stored.accepted.class_names == ["a", "c"] == stored.to_dict()["accepted"], "those that reach theirs"
    assert stored[0].class_names == ["b"] and len(stored) == 3, "the most probable one stays first"
    several = ClassifyPrediction(probabilities, ClassifyLabels(("a", "b", "c"), multilabel=True))
    assert several.accepted.class_names == ["b"] and several.apply_threshold(0.2).accepted.class_names == ["b", "a"]
    kind = ClassifyPrediction
    assert (
        kind.choose_threshold(several.spec, None, {}) is None
        and kind.choose_threshold(several.spec, 0.4, {"a": 0.1}) == 0.4
    )
    assert kind.choose_threshold(several.spec, None, {"a": 0.1}).tolist() == [0.1, 0.5, 0.5]  # type: ignore[union-attr]


def test_crops_have_no_thresholds() -> None:
    """A cascade predicts on crops with a threshold of 0, which would accept all classes."""
    spec = ClassifyLabels(("a", "b"), multilabel=True)
    predictions = [ClassifyPrediction(np.array([0.2, 0.7], np.float32), spec).apply_threshold(0.0)]
    boxes = np.array([[0, 0, 9, 9]], np.float32)
    crops = Crops(boxes, np.ones(1), boxes[:, :2], (20, 20), None, 0.3, False)
    (boxed,) = merge_crops(predictions, crops, spec).predictions
    assert boxed.accepted.class_names == ["b"]


@pytest.mark.parametrize(
    ("stored", "error", "words"),
    [
        ([0.5], ConfigError, "a mapping from classes to scores, got list"),
        ({"bot": 0.5}, UnknownName, "'bot'"),
        *(({"a": value}, ConfigError, "score from 0 to 1") for value in (1.5, -0.1, "0.5", True, float("nan"), None)),
    ],
)
def test_wrong_thresholds_are_refused(stored: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        checked_thresholds(stored, ("a", "b"), "branch 'boxes'")


def test_scores_of_classes() -> None:
    spec = ClassifyLabels(("a", "b", "c"))
    prediction = ClassifyPrediction(np.array([0.25, 0.5, 0.25], dtype=np.float32), spec)
    scores = object_scores(prediction, ClassifyAnnotation(2))
    assert (
        scores.true_ids.tolist() == [2]
        and scores.true_scores.tolist() == [0.25]
        and scores.false_ids.tolist() == [0, 1]
    )
    rows = confidences(prediction, ClassifyAnnotation(2))
    assert rows.probabilities.tolist() == [[0.25, 0.5, 0.25]] and rows.right.tolist() == [2]
    several = ClassifyPrediction(prediction.probabilities, ClassifyLabels(spec.classes, multilabel=True))
    scores = object_scores(several, ClassifyAnnotation(np.array([1, 0, 1])))
    assert scores.true_ids.tolist() == [0, 2] and scores.false_scores.tolist() == [0.5]
    rows = confidences(several, ClassifyAnnotation(np.array([1, 0, 1])))
    assert rows.probabilities[:, 1].tolist() == [0.25, 0.5, 0.25] and rows.right.tolist() == [1, 0, 1]


def test_scores_of_boxes() -> None:
    """Two boxes on one object, of which the better one matches; one of another class, one in a crowd; an object without a box."""
    boxes = np.array([[0, 0, 10, 10], [0, 0, 10, 9], [50, 50, 60, 60], [80, 0, 90, 10]], dtype=np.float32)
    spec = DetectLabels(("a", "b"))
    prediction = DetectPrediction(boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 0, 1, 0]), spec)
    true = np.array([[0, 0, 10, 10], [20, 20, 30, 30], [78, 0, 95, 12], [50, 50, 60, 60]], dtype=np.float32)
    annotation = DetectAnnotation(true, np.array([0, 1, 0, 0]), np.array([False, False, True, False]))
    scores = box_scores(prediction, annotation)
    assert scores.true_ids.tolist() == [0, 1, 0] and scores.true_scores[1:].tolist() == [MISSED, MISSED]
    assert scores.true_scores[0] == np.float32(0.9)
    assert scores.false_ids.tolist() == [0, 1] and scores.false_scores.tolist() == [np.float32(0.8), np.float32(0.7)]
    rows = box_confidences(prediction, annotation)
    assert rows.right.tolist() == [1, 0, 0] and rows.probabilities.sum(axis=1).tolist() == [1, 1, 1]


def test_scores_of_poses() -> None:
    points = np.array([[[0, 0], [10, 0], [5, 10]], [[40, 0], [50, 0], [45, 10]]], dtype=np.float32)
    boxes = np.array([[0, 0, 10, 10], [40, 0, 50, 10]], dtype=np.float32)
    prediction = KeypointPrediction(
        points, np.ones((2, 3), np.float32), boxes, np.array([0.6, 0.9], np.float32), np.array([0, 0]), CORNERS
    )
    seen = np.concatenate([points[:1], np.full((1, 3, 1), 2, np.float32)], axis=2)
    annotation = KeypointAnnotation(
        seen, boxes[:1], np.array([0]), np.array([False]), np.array([100], np.float32), (20, 60)
    )
    scores = pose_scores(prediction, annotation)
    assert scores.true_scores.tolist() == [pytest.approx(0.6)] and scores.false_scores.tolist() == [pytest.approx(0.9)]


def test_confidences_of_pixels_leave_out_ignored_ones() -> None:
    probabilities = np.full((2, 2, 2), 0.5, dtype=np.float32)
    mask = np.array([[0, 1], [255, 1]], dtype=np.uint8)
    spec = SegmentLabels(("a", "b"))
    rows = pixel_confidences(SegmentPrediction(mask, spec, probabilities), SegmentAnnotation(mask))
    assert rows.right.tolist() == [0, 1, 1] and rows.probabilities.shape == (3, 2)
    several = SegmentPrediction(np.zeros((2, 2, 2), bool), SegmentLabels(("a", "b"), multilabel=True), probabilities)
    for annotated in (mask, np.array([[[1, 0], [255, 0]], [[0, 1], [255, 1]]], dtype=np.uint8)):
        assert pixel_confidences(several, SegmentAnnotation(annotated)).right.tolist() == [1, 0, 0, 0, 1, 1]
