"""Class ids of a data set become those of a branch."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.data.class_mapping import class_mapping
from vertebra.errors import DataError
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels


def test_equal_classes_change_nothing() -> None:
    change, notes = class_mapping(DetectLabels(("a", "b")), DetectLabels(("a", "b")), "boxes", "set")
    annotation = DetectAnnotation(np.zeros((0, 4)), np.zeros(0), np.zeros(0))
    assert change(annotation) is annotation and not notes


def test_boxes_are_renumbered_and_strangers_left_out() -> None:
    change, notes = class_mapping(DetectLabels(("a", "x", "b")), DetectLabels(("b", "c", "a")), "boxes", "set")
    boxes = np.arange(12).reshape(3, 4)
    changed = change(DetectAnnotation(boxes, np.array([0, 1, 2]), np.array([False, False, True])))
    assert changed.labels.tolist() == [2, 0] and changed.boxes.tolist() == boxes[[0, 2]].tolist()
    assert changed.crowd.tolist() == [False, True]
    assert [str(note) for note in notes] == ["1 class of set that branch 'boxes' has not was left out: x"]


def test_classes_of_images() -> None:
    change, _ = class_mapping(ClassifyLabels(("a", "b")), ClassifyLabels(("b", "a", "c")), "animal", "set")
    assert change(ClassifyAnnotation(0)).label == 1
    both, _ = class_mapping(ClassifyLabels(("a", "b"), True), ClassifyLabels(("b", "c", "a"), True), "animal", "set")
    assert both(ClassifyAnnotation(np.array([1, 0]))).label.tolist() == [0, 0, 1]


def test_masks_and_their_ignore_index() -> None:
    own, branch = SegmentLabels(("a", "x", "b"), ignore_index=9), SegmentLabels(("b", "a"), ignore_index=255)
    change, _ = class_mapping(own, branch, "regions", "set")
    mask = np.array([[0, 1], [2, 9]], dtype=np.uint8)
    assert change(SegmentAnnotation(mask)).mask.tolist() == [[1, 255], [0, 255]]
    same, notes = class_mapping(SegmentLabels(("a",), False, 9), SegmentLabels(("a",), False, 255), "regions", "set")
    assert same(SegmentAnnotation(np.array([[0, 9]], dtype=np.uint8))).mask.tolist() == [[0, 255]] and not notes
    planes, _ = class_mapping(SegmentLabels(("a", "b"), True), SegmentLabels(("b",), True), "regions", "set")
    layers = np.array([[[1, 0]], [[255, 1]]], dtype=np.uint8)
    assert planes(SegmentAnnotation(layers)).mask.tolist() == [[[255, 1]]]


def test_sets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match="its labels are DetectLabels, but branch 'b' has ClassifyLabels"):
        class_mapping(DetectLabels(("a",)), ClassifyLabels(("a",)), "b", "set")
    with pytest.raises(DataError, match="opened with exclusive classes, but branch 'b' has overlapping ones"):
        class_mapping(ClassifyLabels(("a",)), ClassifyLabels(("a",), True), "b", "set")
    with pytest.raises(DataError, match=r"branch 'b' knows none of its classes \(dgo\). Did you mean 'dog'"):
        class_mapping(DetectLabels(("dgo",)), DetectLabels(("dog",)), "b", "set")
