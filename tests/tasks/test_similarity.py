"""How far two answers agree, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.tasks import get_task


def box(*rows: tuple[float, float, float, float, float, int]) -> object:
    task = get_task("detect")
    values = np.asarray(rows, dtype=np.float32).reshape(-1, 6)
    return task.prediction(values[:, :4], values[:, 4], values[:, 5].astype(np.int64), task.labels(("dog", "cat")))


def test_boxes_are_paired() -> None:
    similarity = get_task("detect").similarity
    first = box((0, 0, 10, 10, 0.9, 0), (20, 20, 40, 40, 0.5, 1), (50, 50, 60, 60, 0.2, 0))
    assert similarity(first, first) == 1.0
    # in another order, a little moved, one of them now less than sure: all the same
    assert similarity(first, box((21, 20, 41, 40, 0.7, 1), (0, 0, 10, 10, 0.25, 0))) == 1.0
    # the second has another class: it is missed and the other's is founded on nothing; two of four
    assert similarity(first, box((0, 0, 10, 10, 0.9, 0), (20, 20, 40, 40, 0.5, 0))) == 0.5
    assert similarity(first, box()) == 0.0
    assert similarity(box(), box()) == 1.0
    # where nothing is sure, half of the best score counts
    assert similarity(box((0, 0, 10, 10, 0.1, 0)), box((30, 30, 40, 40, 0.1, 0))) == 0.0


def test_probabilities_and_pixels() -> None:
    classify, segment = get_task("classify"), get_task("segment")
    labels = classify.labels(("dog", "cat"))
    first, second = (classify.prediction(np.asarray(p, dtype=np.float32), labels) for p in ((0.9, 0.1), (0.6, 0.4)))
    assert classify.similarity(first, second) == pytest.approx(0.7)
    spec = segment.labels(("dog", "cat"))
    zeros = np.zeros((4, 5), dtype=np.uint8)
    other = zeros.copy()
    other[0] = 1
    assert segment.similarity(segment.prediction(zeros, spec), segment.prediction(other, spec)) == 0.75


def test_points_are_near_by_the_size_of_their_object() -> None:
    task = get_task("keypoints")
    spec = task.labels(("dog",), points=("nose", "tail"))

    def found(points: list[list[list[float]]], boxes: list[list[float]]) -> object:
        count = len(boxes)
        return task.prediction(
            np.asarray(points, dtype=np.float32).reshape(count, 2, 2),
            np.ones((count, 2), dtype=np.float32),
            np.asarray(boxes, dtype=np.float32).reshape(count, 4),
            np.ones(count, dtype=np.float32),
            np.zeros(count, dtype=np.int64),
            spec,
        )

    first = found([[[10, 10], [50, 50]], [[210, 10], [250, 50]]], [[0, 0, 100, 60], [200, 0, 300, 60]])
    # objects in another order; one point of four is 6 pixels off, where 5 are near
    second = found([[[210, 10], [250, 56]], [[10, 14], [50, 50]]], [[200, 0, 300, 60], [0, 0, 100, 60]])
    assert task.similarity(first, second) == 0.75
    nobody = found([], [])
    assert task.similarity(nobody, nobody) == 1.0 and task.similarity(first, nobody) == 0.0
