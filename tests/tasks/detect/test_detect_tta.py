"""Merging the boxes of several views of an image: decoded arrays in, decoded arrays out."""

from __future__ import annotations

import numpy as np

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.tta import DetectTTA

RESIZE_SPEC = ResizeSpec((100, 100))
TRANSFORM = RESIZE_SPEC.transform(100, 60)  # fill from column 60 on
SPEC = DetectLabels(("a", "b"))


def decoded(*rows: tuple[list[float], float, int], length: int = 3) -> list[np.ndarray]:
    boxes, scores, labels = np.zeros((length, 4), np.float32), np.zeros(length, np.float32), np.full(length, -1)
    for number, row in enumerate(rows):
        boxes[number], scores[number], labels[number] = row
    return [boxes, scores, labels, np.int64(len(rows))]


def test_boxes_come_back_from_mirrored_and_larger_canvases() -> None:
    """What lies at columns 10 to 30 of 60 lies at 30 to 50 when mirrored, and at 60 to 100 on a canvas of twice the size."""
    merger = DetectTTA(SPEC, whole=False)
    merger.add(decoded(([10, 20, 30, 90], 0.9, 1)), ViewTransform(TRANSFORM, TRANSFORM, mirrored=False))
    merger.add(decoded(([30, 20, 50, 90], 0.6, 1)), ViewTransform(TRANSFORM, TRANSFORM, mirrored=True))
    large = RESIZE_SPEC.scaled(2).transform(100, 60)
    merger.add(decoded(([20, 40, 60, 180], 0.3, 1)), ViewTransform(TRANSFORM, large, mirrored=False))
    merger.add(decoded(([60, 40, 100, 180], 0.6, 1)), ViewTransform(TRANSFORM, large, mirrored=True))
    boxes, scores, labels, count = merger.finish()
    np.testing.assert_allclose(boxes, [[10, 20, 30, 90], [0] * 4, [0] * 4], atol=1e-5)
    np.testing.assert_allclose(scores, [0.6, 0, 0])
    assert labels.tolist() == [1, -1, -1] and count == 1
    assert [array.dtype for array in (boxes, scores, labels, count)] == [np.float32, np.float32, np.int64, np.int64]


def test_the_best_are_kept_and_sorted() -> None:
    """Four objects for three rows: the object of half the views is ranked lower, and the last one is dropped."""
    merger = DetectTTA(SPEC, whole=False)
    places = [[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10], [0, 50, 10, 60]]
    merger.add(
        decoded((places[0], 0.9, 0), (places[1], 0.8, 0), (places[3], 0.2, 0)),
        ViewTransform(TRANSFORM, TRANSFORM, False),
    )
    merger.add(decoded((places[1], 0.6, 0), (places[2], 0.5, 1)), ViewTransform(TRANSFORM, TRANSFORM, False))
    boxes, scores, labels, count = merger.finish()
    assert boxes.tolist() == [places[1], places[0], places[2]]
    np.testing.assert_allclose(scores, [0.7, 0.45, 0.25])
    assert labels.tolist() == [0, 0, 1] and count == 3


def test_nothing_at_all() -> None:
    merger = DetectTTA(SPEC, whole=False)
    for mirrored in (False, True):
        merger.add(decoded(), ViewTransform(TRANSFORM, TRANSFORM, mirrored))
    boxes, scores, labels, count = merger.finish()
    assert boxes.shape == (3, 4) and not scores.any() and labels.tolist() == [-1] * 3 and count == 0
