"""Annotations as columns, and the index over them."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.annotations.paths import path_column
from vertebra.annotations.ranges import take_ranges
from vertebra.data.index import Index
from vertebra.tasks.classify.column import ClassColumn
from vertebra.tasks.detect.column import BoxColumn
from vertebra.tasks.detect.labels import DetectLabels


def fake_boxes() -> BoxColumn:
    rows = np.array([2, 0, 2, 2])
    boxes = np.array([[0, 0, 4, 4], [1, 1, 3, 3], [5, 5, 30, 9], [12, 0, 14, 2]])
    return BoxColumn.of(
        rows, boxes, np.array([0, 1, 2, 0]), np.array([0, 0, 1, 0]), np.array([True, True, True, False])
    )


def test_boxes_are_sorted_by_image_and_clipped() -> None:
    column = fake_boxes()
    assert column.offsets.tolist() == [0, 1, 1, 4, 4]
    assert column.get(0, (10, 10)).boxes.tolist() == [[1, 1, 3, 3]]
    nothing = column.get(1, (10, 10))
    assert nothing.boxes.shape == (0, 4) and nothing.labels.dtype == np.int64
    third = column.get(2, (10, 10))
    assert third.boxes.tolist() == [[0, 0, 4, 4], [5, 5, 10, 9]]
    assert third.labels.tolist() == [0, 2] and third.crowd.tolist() == [False, True]
    assert column.boxes.dtype == np.float32 and column.labeled.tolist() == [True, True, True, False]


def test_taking_rows_takes_their_boxes() -> None:
    column = fake_boxes().take(np.array([2, 1, 0, 2]))
    assert [len(column.get(row, (50, 50)).labels) for row in range(4)] == [3, 0, 1, 3]
    assert column.get(2, (50, 50)).boxes.tolist() == [[1, 1, 3, 3]]
    offsets, picked = take_ranges(np.array([0, 2, 2, 5]), np.array([2, 0]))
    assert offsets.tolist() == [0, 3, 5] and picked.tolist() == [2, 3, 4, 0, 1]


def test_classes() -> None:
    one = ClassColumn(np.array([1, 0]), np.array([True, True]))
    assert one.get(0, (1, 1)).label == 1 and isinstance(one.get(0, (1, 1)).label, int)
    several = ClassColumn(np.array([[1, 0, 1]], dtype=np.uint8), np.array([True]))
    assert np.asarray(several.get(0, (1, 1)).label).tolist() == [1, 0, 1]


def test_index_takes_rows_and_has_unicode_paths() -> None:
    labels = DetectLabels(("a", "b", "c"))
    names = ["x/1.png", "강아지.png", "3.png", "4.png"]
    index = Index(Path("root"), path_column(names), {"detect": fake_boxes()}, {"detect": labels})
    part = index.take([3, 1])
    assert len(index) == 4 and len(part) == 2
    assert part.path(1) == Path("root/강아지.png")
    assert part.columns["detect"].labeled.tolist() == [False, True]
    assert len(pickle.dumps(index)) < 3000
    assert len(path_column([])) == 0


def test_notes_read_as_sentences() -> None:
    note = Note.of("box", "of zero area", "dropped", ["a.xml", "b.xml", "a.xml"])
    assert str(note) == "3 boxes of zero area were dropped: a.xml, b.xml"
    assert str(Note.of("image", "without a mask", "left out", ["a"])) == "1 image without a mask was left out: a"
    assert str(Note.of("class", "x", "kept", list("abcd"))) == "4 classes x were kept: a, b, c, …"
    assert str(Note.of("category", "x", "kept", [], 2)) == "2 categories x were kept"
