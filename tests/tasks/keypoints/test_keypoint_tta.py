"""Merging the keypoints of several views of an image: decoded arrays in, decoded arrays out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.tta import KeypointTTA

TRANSFORM = ResizeSpec((100, 100)).transform(100, 60)  # fill from column 60 on
SPEC = KeypointLabels(("dog",), points=("nose", "left_ear", "right_ear"), flip_pairs=((1, 2),))
PLAIN, MIRRORED = (
    ViewTransform(TRANSFORM, TRANSFORM, mirrored=False),
    ViewTransform(TRANSFORM, TRANSFORM, mirrored=True),
)


def decoded(*rows: tuple[Any, Any, Any, float], length: int = 2) -> list[np.ndarray]:
    """Objects given as (points, point scores, box, score)."""
    points, sure = np.zeros((length, 3, 2), np.float32), np.zeros((length, 3), np.float32)
    boxes, scores, labels = np.zeros((length, 4), np.float32), np.zeros(length, np.float32), np.full(length, -1)
    for number, row in enumerate(rows):
        points[number], sure[number], boxes[number], scores[number] = row
        labels[number] = 0
    return [points, sure, boxes, scores, labels, np.int64(len(rows))]


def test_ears_change_places_and_points_weigh_by_their_scores() -> None:
    """The mirrored view's left ear, at column 40 of 60, is the right one at 20; (3 * 24 + 1 * 20) / 4 = 23."""
    merger = KeypointTTA(SPEC, whole=False)
    box = [0, 0, 60, 60]
    merger.add(decoded(([[30, 9], [50, 5], [24, 5]], [1, 1, 0.75], box, 0.9)), PLAIN)
    merger.add(decoded(([[30, 9], [40, 5], [10, 5]], [1, 0.25, 1], box, 0.7)), MIRRORED)
    points, sure, boxes, scores, labels, count = merger.finish()
    np.testing.assert_allclose(points[0], [[30, 9], [50, 5], [23, 5]], atol=1e-5)
    np.testing.assert_allclose(sure[0], [1, 1, 0.5])
    np.testing.assert_allclose(scores, [0.8, 0])
    np.testing.assert_allclose(boxes, [box, [0] * 4])
    assert labels.tolist() == [0, -1] and count == 1
    assert not points[1].any() and not sure[1].any()


def test_an_object_of_one_view() -> None:
    """Its score is halved; its points are those of that view."""
    merger = KeypointTTA(SPEC, whole=False)
    first = ([[5, 5], [8, 2], [2, 2]], [0.9, 0.8, 0.7], [0, 0, 10, 10], 0.8)
    second = ([[35, 5], [38, 2], [32, 2]], [0.6, 0.6, 0.6], [30, 0, 40, 10], 0.6)
    merger.add(decoded(first), PLAIN)
    merger.add(decoded(second, first), PLAIN)
    points, sure, _, scores, _, count = merger.finish()
    assert count == 2
    np.testing.assert_allclose(scores, [0.8, 0.3])
    np.testing.assert_allclose(points, [first[0], second[0]], atol=1e-5)
    np.testing.assert_allclose(sure, [first[1], second[1]])


@pytest.mark.parametrize(("whole", "objects"), [(True, 1), (False, 2)])
def test_the_one_object_of_an_image_is_the_same_in_all_views(whole: bool, objects: int) -> None:
    merger = KeypointTTA(SPEC, whole=whole)
    merger.add(decoded(([[5, 5]] * 3, [1, 1, 1], [0, 0, 20, 20], 0.5)), PLAIN)
    merger.add(decoded(([[7, 5]] * 3, [1, 1, 1], [30, 30, 60, 60], 0.5)), PLAIN)
    points, *_, count = merger.finish()
    assert count == objects
    assert points[0, 0].tolist() == ([6, 5] if whole else [5, 5])


def test_points_that_nobody_is_sure_of_have_a_place() -> None:
    merger = KeypointTTA(SPEC, whole=True)
    merger.add(decoded(([[5, 5]] * 3, [0, 0, 0], [0, 0, 20, 20], 0.0), length=1), PLAIN)
    merger.add(decoded(([[53, 5]] * 3, [0, 0, 0], [40, 0, 60, 20], 0.0), length=1), MIRRORED)
    points, sure, *_ = merger.finish()
    np.testing.assert_allclose(points[0], [[6, 5]] * 3, atol=1e-5)
    np.testing.assert_allclose(sure, 0, atol=1e-8)
