"""What predictions of all tasks have in common: a sequence of objects with fields of the same names."""

from __future__ import annotations

import copy
import json
import pickle
import sys
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

from vertebra.annotations.run_lengths import Region
from vertebra.errors import ConfigError, MissingFieldError, UnknownName
from vertebra.tasks import TASKS
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.classify.boxed_predictions import BoxedPredictions
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.types import InstancePrediction, region_array
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.prediction import FIELDS, Prediction
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.types import SegmentPrediction

CLASSES = ("dog", "cat", "tiger")
SCORES = np.array([0.75, 0.5, 0.125], dtype=np.float32)
BOXES = np.array([[10, 20, 30, 50], [0, 0, 8, 8], [32, 8, 40, 12]], dtype=np.float32)
IDS = np.array([0, 1, 0])
POINTS = np.array([[[12, 22], [28, 48]], [[1, 1], [7, 7]], [[33, 9], [39, 11]]], dtype=np.float32)
IMAGE = np.zeros((60, 80, 3), dtype=np.uint8)
# rows of the picture: 30 of dog, 20 of cat, 10 of neither
MASK = np.repeat(np.array([0, 1, 255], dtype=np.uint8), [30, 20, 10])[:, None].repeat(80, axis=1)


def classify() -> ClassifyPrediction:
    return ClassifyPrediction(np.array([0.75, 0.125, 0.5], np.float32), ClassifyLabels(CLASSES, multilabel=True), IMAGE)


def detect() -> DetectPrediction:
    return DetectPrediction(BOXES, SCORES, IDS, DetectLabels(CLASSES), IMAGE)


def segment() -> SegmentPrediction:
    return SegmentPrediction(MASK, SegmentLabels(CLASSES), image=IMAGE)


def layers() -> SegmentPrediction:
    masks = np.stack([MASK == 0, MASK == 1, np.zeros_like(MASK, dtype=bool)])
    probabilities = np.where(masks, 0.75, 0.25).astype(np.float32)
    probabilities[1, 30:50, :40] = 0.5
    return SegmentPrediction(masks, SegmentLabels(CLASSES, multilabel=True), probabilities, IMAGE)


def keypoints() -> KeypointPrediction:
    labels = KeypointLabels(CLASSES, ("nose", "tail"), ((0, 1),))
    return KeypointPrediction(POINTS, SCORES[:, None].repeat(2, axis=1), BOXES, SCORES, IDS, labels, IMAGE)


def instances() -> InstancePrediction:
    rles = region_array([Region.of_box(box, (60, 80)) for box in BOXES])
    return InstancePrediction(rles, BOXES, SCORES, IDS, (60, 80), InstanceLabels(CLASSES), IMAGE)


def rotated() -> RotatedBoxPrediction:
    corners = np.stack([BOXES[:, [0, 1]], BOXES[:, [2, 1]], BOXES[:, [2, 3]], BOXES[:, [0, 3]]], axis=1)
    return RotatedBoxPrediction(corners, BOXES, SCORES, IDS, RotatedBoxLabels(CLASSES), IMAGE)


def boxed() -> BoxedPredictions:
    return BoxedPredictions(BOXES, (classify(), classify()[1:], classify()[[2]]), classify().spec, IMAGE)


def attributes() -> AttributePrediction:
    spec = AttributeLabels(CLASSES, attribute="kind", box_classes=("pet", "person"))
    probabilities = np.array([[0.75, 0.125, 0.125], [0.25, 0.5, 0.25], [0.5, 0.25, 0.25]], dtype=np.float32)
    return AttributePrediction(BOXES, SCORES, IDS, probabilities, spec, IMAGE)


def described() -> DetectPrediction:
    return replace(detect(), attributes={"kind": attributes()})


MADE: tuple[Callable[[], Prediction], ...] = (
    classify, detect, instances, rotated, segment, layers, keypoints, boxed, attributes, described,
)  # fmt: skip
each = pytest.mark.parametrize("made", MADE, ids=lambda made: made.__name__)


def test_every_task_is_here() -> None:
    assert {task.prediction for task in TASKS.values()} <= {type(made()) for made in MADE}
    assert all(made().task in TASKS for made in MADE)


@each
def test_fields_have_a_row_an_object(made: Callable[[], Prediction]) -> None:
    prediction = made()
    present = [name for name in FIELDS if hasattr(prediction, name)]
    assert {"class_ids", "class_names"} <= set(present)
    for name in present:
        assert len(getattr(prediction, name)) == len(prediction), name
    assert prediction.class_ids.dtype == np.int64
    assert prediction.class_names == [CLASSES[class_id] for class_id in prediction.class_ids]
    shapes = {"boxes": (4,), "scores": (), "masks": (60, 80), "points": (2, 2)}
    kinds = {"masks": bool}
    for name in set(present) & set(shapes):
        array = getattr(prediction, name)
        assert array.shape[1:] == shapes[name] and array.dtype == kinds.get(name, np.float32), name


@each
def test_a_field_that_a_task_has_not_is_one_clear_error(made: Callable[[], Prediction]) -> None:
    prediction = made()
    absent = [name for name in FIELDS if not hasattr(prediction, name)]
    for name in absent:
        with pytest.raises(MissingFieldError, match=rf"a {prediction.task} prediction has.* '{name}'"):
            getattr(prediction, name)
        assert getattr(prediction, name, None) is None
    with pytest.raises(AttributeError, match=r"object has no attribute 'box'") as told:
        prediction.box  # type: ignore[attr-defined]  # noqa: B018
    assert not isinstance(told.value, MissingFieldError)


def same(first: Prediction, second: Prediction) -> bool:
    return type(first) is type(second) and first.to_dict() == second.to_dict()


@each
def test_an_index_picks_objects(made: Callable[[], Prediction]) -> None:
    prediction = made()
    count = len(prediction)
    assert count >= 2
    objects = prediction.to_dict()["objects"]
    for index, rows in (
        (0, [0]),
        (-1, [count - 1]),
        (np.int64(1), [1]),
        (slice(None), list(range(count))),
        (slice(None, None, -1), list(range(count))[::-1]),
        (slice(5, 9), []),
        ([1, 0], [1, 0]),
        (np.array([1, 1], dtype=np.int32), [1, 1]),
        ([], []),
        ([row == 1 for row in range(count)], [1]),
        (np.arange(count) > 0, list(range(1, count))),
    ):
        part = prediction[index]
        assert type(part) is type(prediction) and len(part) == len(rows), index
        assert part.to_dict() == {**prediction.to_dict(), "objects": [objects[row] for row in rows]}, index
        for name in [*FIELDS, *prediction.per_object]:
            if hasattr(prediction, name):
                field = getattr(prediction, name)
                assert np.array_equal(getattr(part, name), [field[row] for row in rows]) or not rows, name
    assert same(prediction[1:][0], prediction[1]), "a part of a part"


@each
def test_iteration_gives_the_objects_one_by_one(made: Callable[[], Prediction]) -> None:
    prediction = made()
    listed = list(prediction)
    assert [len(one) for one in listed] == [1] * len(prediction)
    assert all(same(one, prediction[row]) for row, one in enumerate(listed))
    assert [one.class_names[0] for one in listed] == prediction.class_names
    assert list(prediction[:0]) == []


@each
@pytest.mark.parametrize(
    ("index", "error", "message"),
    [
        (9, IndexError, "there is no object 9: there are [23], counted from 0"),
        (-9, IndexError, "there is no object -9"),
        ([0, 5], IndexError, "there is no object 5"),
        ([True] * 9, IndexError, "the mask has 9 values for [23] objects"),
        ("dog", TypeError, r"for a class use filter\(classes='dog'\)"),
        (0.5, TypeError, "float"),
        (True, TypeError, "not by bool True"),
        ([[0]], TypeError, "not by list"),
        (None, TypeError, "not by NoneType None"),
        (..., TypeError, "not by ellipsis"),
        (np.array([9], np.uint64), IndexError, "there is no object 9"),
    ],
)
def test_another_index_is_refused(
    made: Callable[[], Prediction], index: Any, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        made()[index]


@each
def test_classes_are_filtered_by_name_or_id(made: Callable[[], Prediction]) -> None:
    prediction = made()
    rows = np.flatnonzero(prediction.class_ids == 0)
    for classes in ("dog", 0, ["dog"], (np.int64(0),), {"dog", 0}, iter(["dog"])):
        assert same(prediction.filter(classes=classes), prediction[rows])
    assert same(prediction.filter(classes=CLASSES), prediction)
    assert same(prediction.filter(), prediction)
    assert len(prediction.filter(classes=[])) == 0
    with pytest.raises(UnknownName, match=r"unknown class 'dgo'. Did you mean 'dog'\?"):
        prediction.filter(classes=["cat", "dgo"])
    for wrong in (3, -1, 0.5, None):
        with pytest.raises(ConfigError, match="a class is a name, or an id from 0 to 2"):
            prediction.filter(classes=[wrong])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "made", [classify, detect, instances, rotated, layers, keypoints, boxed], ids=lambda made: made.__name__
)
def test_scores_are_filtered_from_the_least_on(made: Callable[[], Prediction]) -> None:
    prediction = made()
    least = float(np.sort(prediction.scores)[1])
    part = prediction.filter(min_score=least)
    assert same(part, prediction[prediction.scores >= least]) and part.scores.min() == least
    assert len(part) < len(prediction) or made is layers
    assert len(prediction.filter(min_score=least, classes="dog")) <= len(part)
    assert len(prediction.filter(min_score=0)) == len(prediction)
    for wrong in (50, -0.1, float("nan")):
        with pytest.raises(ConfigError, match="'min_score' must be within 0 and 1"):
            prediction.filter(min_score=wrong)


def test_only_doubtful_boxes_and_poses_are_left_out_by_a_predictor() -> None:
    assert [made().thresholded for made in MADE] == [False, True, True, True, False, False, True, False, False, True]
    for made in (detect, instances, rotated, keypoints):
        assert made().draw_threshold == made().filter(classes="dog").draw_threshold == made()[0].draw_threshold == 0.3
        assert made().filter(min_score=0.1).draw_threshold == 0.1


@each
def test_a_predictors_threshold_is_the_filter_of_tasks_that_have_one(made: Callable[[], Prediction]) -> None:
    prediction = made()
    kept = prediction.apply_threshold(0.5)
    if prediction.attached:
        assert kept.boxes.tolist() == BOXES[:2].tolist(), "the threshold is for the scores of the boxes"
    elif not prediction.thresholded:
        assert kept.class_ids.tolist() == prediction.class_ids.tolist(), "no class is left out"
    else:
        filtered = prediction.filter(min_score=0.5)
        assert kept.to_dict() == filtered.to_dict() and kept.draw().tobytes() == filtered.draw().tobytes()


@each
def test_the_dictionary_is_json_with_common_keys(made: Callable[[], Prediction]) -> None:
    prediction = made()
    read = json.loads(json.dumps(prediction.to_dict()))
    assert read["task"] == prediction.task
    assert [one["class_name"] for one in read["objects"]] == prediction.class_names
    assert [one["class_id"] for one in read["objects"]] == prediction.class_ids.tolist()
    for key, field in (("score", "scores"), ("box", "boxes")):
        if key in read["objects"][0]:
            assert [one[key] for one in read["objects"]] == getattr(prediction, field).tolist()
    assert json.loads(json.dumps(prediction[:0].to_dict()))["objects"] == []


@each
def test_coco_results_have_an_entry_an_object(made: Callable[[], Prediction]) -> None:
    prediction = made()
    if made is classify:
        with pytest.raises(MissingFieldError, match=r"COCO has no results for a classify prediction; use to_dict\(\)"):
            prediction.to_coco(7)
        return
    rows = json.loads(json.dumps(prediction.to_coco(7)))
    assert [(row["image_id"], row["category_id"]) for row in rows] == [(7, i) for i in prediction.class_ids.tolist()]
    expected = [[7, None, 9][class_id] for class_id in prediction.class_ids if class_id != 1]
    rows = prediction.to_coco("a", [7, None, 9])
    assert [row["category_id"] for row in rows] == expected and {row["image_id"] for row in rows} == {"a"}
    numbers = prediction.to_coco(1, np.array([7, 8, 9]))  # type: ignore[arg-type]
    assert [row["category_id"] for row in json.loads(json.dumps(numbers))] == (7 + prediction.class_ids).tolist()
    assert prediction[:0].to_coco(7) == []
    with pytest.raises(ConfigError, match="one id for each class: got 2 for 3 classes"):
        prediction.to_coco(7, [1, 2])


@each
def test_supervision_gets_its_own_type(made: Callable[[], Prediction], monkeypatch: pytest.MonkeyPatch) -> None:
    def new_points(
        xy: Any,
        class_id: Any = None,
        keypoint_confidence: Any = None,
        detection_confidence: Any = None,
        data: Any = None,
    ) -> tuple[str, dict[str, Any]]:
        scores = {"keypoint_confidence": keypoint_confidence, "detection_confidence": detection_confidence}
        return "KeyPoints", {"xy": xy, "class_id": class_id, "data": data, **scores}

    types: dict[str, Any] = {
        name: lambda name=name, **fields: (name, fields) for name in ("Detections", "Classifications")
    }
    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(**types, KeyPoints=new_points))
    prediction = made()
    name, fields = prediction.to_supervision()
    assert name == {"classify": "Classifications", "keypoints": "KeyPoints"}.get(made.__name__, "Detections")
    assert np.array_equal(fields["class_id"], prediction.class_ids)
    for key, field in (("xyxy", "boxes"), ("mask", "masks"), ("xy", "points"), ("detection_confidence", "scores")):
        assert (key in fields) <= hasattr(prediction, field)
        if key in fields:
            assert np.array_equal(fields[key], getattr(prediction, field)), key
    if "confidence" in fields:
        assert (fields["confidence"] is None) == (made is segment)
        assert made is segment or np.array_equal(fields["confidence"], prediction.scores)
    if "data" in fields:
        assert fields["data"]["class_name"].tolist() == prediction.class_names


def test_older_releases_of_supervision_have_one_score_of_points(monkeypatch: pytest.MonkeyPatch) -> None:
    def old_points(xy: Any, class_id: Any = None, confidence: Any = None, data: Any = None) -> dict[str, Any]:
        return {"xy": xy, "confidence": confidence}

    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(KeyPoints=old_points))
    assert np.array_equal(keypoints().to_supervision()["confidence"], keypoints().point_scores)


@each
def test_the_real_supervision_takes_them(made: Callable[[], Prediction]) -> None:
    pytest.importorskip("supervision")
    assert len(made().to_supervision()) == len(made())
    assert len(made()[:0].to_supervision()) == 0


@each
def test_without_supervision_the_error_has_the_cure(
    made: Callable[[], Prediction], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match=r"needs the package 'supervision': pip install '.\[supervision\]'"):
        made().to_supervision()


@each
def test_a_picture_shows_the_objects_that_are_left(made: Callable[[], Prediction]) -> None:
    prediction = made()
    whole, none = np.asarray(prediction.draw()), np.asarray(prediction[:0].draw())
    assert whole.any() and not none.any(), "a black image stays black where nothing is drawn"
    assert np.asarray(prediction.draw(Image.new("RGB", (80, 60), "white"))).mean() > whole.mean()
    best = np.asarray(prediction.filter(classes="dog").draw())
    assert best.any() and not (best.shape == whole.shape and np.array_equal(best, whole))


@pytest.mark.parametrize(
    ("prediction", "told"),
    [
        (classify(), "3 classes: dog 0.75, tiger 0.50, cat 0.12"),
        (classify()[0], "1 class: dog 0.75"),
        (classify()[:0], "no classes"),
        (detect(), "3 boxes: dog 0.75, cat 0.50, …"),
        (detect()[::-1], "3 boxes: dog 0.75, cat 0.50, …"),
        (detect()[1], "1 box: cat 0.50"),
        (detect()[:0], "no boxes"),
        (segment(), "2 classes: dog 50.0%, cat 33.3%"),
        (layers().filter(classes="cat"), "1 class: cat 33.3%"),
        (keypoints(), "3 objects with 2 points: dog 0.75, cat 0.50, …"),
        (keypoints()[0], "1 object with 2 points: dog 0.75"),
        (boxed()[:0], "no boxes"),
    ],
)
def test_the_text_has_the_count_and_the_best_classes(prediction: Prediction, told: str) -> None:
    assert repr(prediction) == str(prediction) == told


def test_the_text_is_short() -> None:
    spec = DetectLabels(tuple(f"a very long name of a class, number {number} of them" for number in range(300)))
    many = DetectPrediction(np.zeros((300, 4), np.float32), np.full(300, 0.9, np.float32), np.arange(300), spec)
    assert repr(many) == "300 boxes: a very long name of a c… 0.90, …" and len(repr(many)) < 120


@each
def test_predictions_can_be_sent_and_copied(made: Callable[[], Prediction]) -> None:
    prediction = made()[1:]
    for other in (pickle.loads(pickle.dumps(prediction)), copy.deepcopy(prediction), copy.copy(prediction)):
        assert same(other, prediction) and repr(other) == repr(prediction)


def test_numbers_of_classes_in_pixels() -> None:
    prediction = layers()
    assert prediction.class_ids.tolist() == [0, 1] and prediction.scores.tolist() == [0.75, 0.625]
    assert prediction.boxes.tolist() == segment().boxes.tolist() == [[0, 0, 80, 30], [0, 30, 80, 50]]
    assert np.array_equal(prediction.masks, segment().masks) and segment().masks.sum(axis=(1, 2)).tolist() == [
        2400,
        1600,
    ]
    only = segment().filter(classes="cat")
    assert only.masks.shape == (1, 60, 80) and np.array_equal(only.mask, MASK), "the map of class ids keeps all"
    with pytest.raises(MissingFieldError, match=r"'scores' only if it was made with probabilities; 'share' has"):
        segment().filter(min_score=0.5)


def test_numbers_of_classes_of_an_image() -> None:
    prediction = classify()
    assert prediction.class_ids.tolist() == [0, 2, 1] and prediction.scores.tolist() == [0.75, 0.5, 0.125]
    assert prediction.filter(min_score=0.5).top(9) == [("dog", 0.75), ("tiger", 0.5)]
    assert prediction[1].probabilities.tolist() == [0.75, 0.125, 0.5], "of all classes, whichever are picked"


def test_numbers_of_coco_results() -> None:
    assert detect().to_coco(3)[0] == {"image_id": 3, "category_id": 0, "bbox": [10, 20, 20, 30], "score": 0.75}
    assert keypoints().to_coco(3)[1] == {
        "image_id": 3, "category_id": 1, "keypoints": [1, 1, 0.5, 7, 7, 0.5], "score": 0.5,
    }  # fmt: skip
    assert [row["score"] for row in segment().to_coco(3)] == [1.0, 1.0]
    assert [row["score"] for row in layers().to_coco(3)] == [0.75, 0.625]


def test_an_index_of_any_integer_type() -> None:
    for kind in (np.uint64, np.uint8, np.int8):
        assert detect()[np.array([1], kind)].to_dict() == detect()[1].to_dict() == detect()[kind(1)].to_dict()


@pytest.mark.parametrize(
    ("conditions", "message"),
    [
        *(
            ({"classes": value}, "unknown class .*: a class is a name, or an id from 0 to 2")
            for value in (True, [True], 0.5, 3)
        ),
        *(({"min_score": value}, "'min_score' must be within 0 and 1") for value in ("0.5", True, float("nan"), 2)),
    ],
)
def test_wrong_conditions_are_refused(conditions: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        detect().filter(**conditions)
