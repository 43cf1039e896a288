"""Attributes of boxes: their values, how they follow their objects, metrics by hand, and predictions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vertebra.annotations.attribute_values import object_values, value_text
from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.options import ReadOptions
from vertebra.data.readers.base import index_of
from vertebra.errors import ConfigError, DataError
from vertebra.inference.results import join_attributes
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import column_key, get_task
from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.data import AttributeData
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.metrics import AttributeMetric
from vertebra.tasks.box_attributes.mixing import AttributeMixing
from vertebra.tasks.box_attributes.targets import AttributeDecoded, AttributeTargets
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.mixing import MosaicTile, Rectangle

LABELS = AttributeLabels(("blue", "red"), attribute="color", box_classes=("car", "bus"))
SIDE = 100


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (" red ", "red"), (True, "true"), (False, "false"), (3, "3"), (3.0, "3"), (0.5, "0.5"), (None, ""),
        (float("nan"), ""), ("Unspecified", ""), ("0", "0"),
    ],
)  # fmt: skip
def test_values_are_texts(value: object, text: str) -> None:
    assert value_text(value) == text


def test_several_values_of_an_object() -> None:
    assert object_values({"a": ["x", "y", "x"]}, "a", multilabel=True) == ("x", "y")
    assert object_values({"a": "x; y|z"}, "a", multilabel=True) == ("x", "y", "z")
    assert object_values({"a": []}, "a", multilabel=True) == () and object_values({"a": []}, "a", False) is None
    assert object_values({}, "a", multilabel=True) is None


def built(*values: object) -> AnnotationBuilder:
    """One image with an object of each value."""
    builder = AnnotationBuilder(Path("set"), Path("set/boxes.json"))
    row = builder.image("a.png", size=(SIDE, SIDE))
    for number, value in enumerate(values):
        left = 10.0 * number
        name = "bus" if number % 2 else "car"
        builder.object(row, name, box=(left, 0, left + 9, 20), attributes={"color": value})
    return builder


def test_classes_are_the_values_and_the_rest_is_noted() -> None:
    options = ReadOptions(attribute="color")
    index = index_of(built("red", None, "Red", "blue", True).build(), "box_attributes:color", options)
    labels = index.labels["box_attributes:color"]
    assert labels.classes == ("Red", "blue", "red", "true") and labels.box_classes == ("car", "bus")
    notes = [str(note) for note in index.notes]
    assert "1 object without a value of 'color' was not labeled for it: a.png" in notes
    assert "1 group of values of 'color' that differ by case only was kept as several: Red/red" in notes
    annotation = index.columns["box_attributes:color"].get(0, (SIDE, SIDE))
    assert annotation.values.tolist() == [2, -1, 0, 1, 3] and annotation.objects.labels.tolist() == [0, 1, 0, 1, 0]
    numbers = index_of(built(10, 9, "2").build(), "box_attributes:color", options).labels["box_attributes:color"]
    assert numbers.classes == ("2", "9", "10")
    listed = index_of(built("red", "blue").build(), "box_attributes:color", replace(options, classes=("red", "green")))
    assert listed.columns["box_attributes:color"].values.tolist() == [0, -1]
    with pytest.raises(DataError, match=r"name the attribute of its objects; they have: color \(2 values\)"):
        index_of(built("red", "blue").build(), "box_attributes", ReadOptions())


def test_each_attribute_has_a_column() -> None:
    assert column_key("box_attributes", "color") == "box_attributes:color" and column_key("detect", "color") == "detect"
    assert get_task("box_attributes:color") is get_task("box_attributes")


def scattered(count: int, seed: int) -> AttributeAnnotation:
    """Boxes whose width in pixels is their value plus 20."""
    draw = np.random.default_rng(seed)
    values = np.arange(count) % 7 - 1
    corners = draw.uniform(0, 60, (count, 2))
    boxes = np.concatenate([corners, corners + np.stack([values + 20, np.full(count, 30)], axis=1)], axis=1)
    return AttributeAnnotation(DetectAnnotation(boxes.astype(np.float32), values % 2, np.zeros(count, bool)), values)


def check_widths(moved: AttributeAnnotation) -> None:
    """Checks that whole boxes still have the width of their value."""
    boxes = moved.objects.boxes
    inside = ((boxes > 1) & (boxes < 2 * SIDE - 1)).all(axis=1)
    np.testing.assert_allclose((boxes[:, 2] - boxes[:, 0])[inside], moved.values[inside] + 20, atol=1e-3)
    np.testing.assert_array_equal(moved.objects.labels, moved.values % 2)


@given(st.integers(0, 12), st.integers(0, 1000), st.booleans(), st.integers(0, 40), st.integers(0, 40))
def test_values_go_where_their_boxes_go(count: int, seed: int, mirrored: bool, left: int, top: int) -> None:
    annotation, spec = scattered(count, seed), ResizeSpec((SIDE, SIDE))
    data, mixing = AttributeData(), AttributeMixing()
    cut = CropWindow(top, left, 60, 60, (60, 60), mirror=mirrored, flip=not mirrored)
    moved = data.cut(annotation, cut, spec, LABELS)
    whole = (moved.objects.boxes[:, [0, 1]] > 0).all(axis=1) & (moved.objects.boxes[:, [2, 3]] < 60).all(axis=1)
    widths = moved.objects.boxes[:, 2] - moved.objects.boxes[:, 0]
    np.testing.assert_allclose(widths[whole], moved.values[whole] + 20, atol=1e-3)
    np.testing.assert_array_equal(moved.objects.labels, moved.values % 2)
    second = scattered(count // 2, seed + 1)
    tiles = [MosaicTile(annotation, 0, 0, (SIDE, SIDE)), MosaicTile(second, SIDE, SIDE, (SIDE, SIDE))]
    joined = mixing.mosaic(tiles, (2 * SIDE, 2 * SIDE), LABELS)
    assert len(joined.values) == count + count // 2
    for mixed in (joined, mixing.mixup(annotation, second, 0.5, LABELS)):
        check_widths(mixed)
    pasted = mixing.cutmix(annotation, second, Rectangle(left, top, left + 30, top + 30), 0.7, LABELS)
    np.testing.assert_array_equal(pasted.objects.labels, pasted.values % 2)


def test_other_classes_of_boxes_are_left_out_and_values_renumbered() -> None:
    source = AttributeLabels(("red", "green"), attribute="color", box_classes=("bus", "dog"))
    boxes = np.array([[0, 0, 9, 9], [10, 0, 19, 9], [20, 0, 29, 9]], dtype=np.float32)
    objects = DetectAnnotation(boxes, np.array([0, 1, 0]), np.zeros(3, dtype=bool))
    changed = AttributeData().relabel(
        AttributeAnnotation(objects, np.array([0, 0, 1])), np.array([1, -1]), source, LABELS
    )
    assert changed.objects.labels.tolist() == [1, 1] and changed.values.tolist() == [1, -1]
    several = AttributeAnnotation(objects, np.array([[1, 0], [0, 1], [-1, -1]], dtype=np.int8))
    renumbered = AttributeData().relabel(several, np.array([1, -1]), source, replace(LABELS, multilabel=True))
    assert renumbered.values.tolist() == [[0, 1], [-1, -1]]


def test_metrics_by_hand() -> None:
    metric = AttributeMetric(LABELS)
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [60, 0, 70, 10]], dtype=np.float32)
    truth = AttributeAnnotation(
        DetectAnnotation(boxes, np.array([0, 0, 1, 0]), np.array([False, False, False, False])), np.array([0, 1, 1, -1])
    )
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2], [0.1, 0.9], [0.5, 0.5]], dtype=np.float32)
    found = AttributePrediction(
        boxes, np.array([0.9, 0.8, 0.7, 0.6], np.float32), np.array([0, 0, 0, 0]), probabilities, LABELS
    )
    metric.update([found], [truth])
    scores = metric.compute()
    # two boxes match a labeled object of their class, the first with the right value; the third is of another class
    assert scores["matched_accuracy"] == 0.5 and "accuracy" not in scores
    assert scores["joint_map/car blue"] == pytest.approx(1.0)
    # of "car red" the box with 0.63 is on the bus, before the right one with 0.16; the box of the unlabeled car does not count
    assert scores["joint_map/car red"] == pytest.approx(0.5)
    assert scores["joint_map/bus red"] == 0.0 and "joint_map/bus blue" not in scores
    assert scores["joint_map_50"] == pytest.approx(0.5)
    tensors = [torch.from_numpy(value)[None] for value in (boxes[:3], found.box_scores[:3], found.box_class_ids[:3])]
    decoded = AttributeDecoded(*tensors, torch.tensor([3]), torch.from_numpy(probabilities[:3])[None])
    values = torch.tensor([[0, 1, 1]])
    metric.update_true_boxes(decoded, AttributeTargets(tensors[0], values, tensors[2], torch.tensor([3])))
    assert metric.compute()["accuracy"] == pytest.approx(2 / 3)
    metric.reset()
    assert metric.compute() == {}


def test_boxes_keep_their_attributes() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10]], dtype=np.float32)
    scores = np.array([0.9, 0.4], dtype=np.float32)
    ids = np.array([0, 1])
    color = AttributePrediction(boxes, scores, ids, np.array([[0.25, 0.75], [0.5, 0.5]], np.float32), LABELS)
    plain = DetectPrediction(boxes, scores, ids, DetectLabels(LABELS.box_classes), np.zeros((20, 40, 3), np.uint8))
    cars = replace(plain, attributes={"color": color})
    assert cars[0].attributes["color"].value == "red" and cars[0].attributes["color"].score == 0.75
    assert cars[::-1].attributes["color"].values == ["blue", "red"]
    assert cars.filter(min_score=0.5).attributes["color"].values == ["red"]
    assert cars.apply_threshold(0.5).to_dict()["objects"][0]["attributes"] == {"color": {"value": "red", "score": 0.75}}
    assert cars.to_coco(1)[0]["attributes"] == {"color": "red"}
    assert np.array_equal(color.apply_threshold(np.array([0.95, 0.3])).boxes, boxes[1:])
    assert (np.asarray(cars.draw()) != np.asarray(plain.draw())).any()
    builder = AnnotationBuilder(Path("set"), Path("set"))
    cars.annotate(builder, builder.image("a.png"), 0.5)
    assert builder.build().objects.attributes == ({"confidence": float(scores[0]), "color": "red"},)
    with pytest.raises(ConfigError, match="'value' is of one box, but here are 2: use 'values'"):
        color.value  # noqa: B018
    tags = replace(color, spec=replace(LABELS, multilabel=True))
    assert tags.values == [("red",), ("blue", "red")] and tags[0].value == ("red",)
    assert replace(plain, attributes={"tags": tags}).to_coco(1)[1]["attributes"] == {"tags": ["blue", "red"]}


def test_boxes_outside_of_the_image_lose_their_attributes_with_themselves() -> None:
    boxes = np.array([[0, 0, 10, 10], [5, 5, 5, 5], [20, 0, 30, 10]], dtype=np.float32)
    color = AttributePrediction(
        boxes, np.ones(3, np.float32), np.zeros(3, np.int64), np.eye(3, 2, dtype=np.float32), LABELS
    )
    plain = DetectPrediction(boxes[[0, 2]], np.ones(2, np.float32), np.zeros(2, np.int64), DetectLabels(("car",)))
    joined = join_attributes({"cars": plain, "paint": color}, {"paint": "cars"})
    assert joined["cars"].attributes["color"].boxes.tolist() == joined["paint"].boxes.tolist() == plain.boxes.tolist()
