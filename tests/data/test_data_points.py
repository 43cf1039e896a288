"""Points move with their image, change sides in a mirror, and become targets."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vertebra.data.batches import stack_targets
from vertebra.data.relabel import relabelling
from vertebra.data.transforms import Augment, augment_onto, cut, place
from vertebra.preprocess.plan import Plan
from vertebra.preprocess.window import Window
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels

LABELS = KeypointLabels(("cat", "dog"), ("nose", "left_ear", "right_ear"), flip_pairs=((1, 2),))
NAMED = {"pose": LABELS}


def two_objects() -> KeypointAnnotation:
    points = [[[20, 30, 2], [10, 10, 1], [40, 10, 2]], [[70, 50, 2], [0, 0, 0], [75, 40, 2]]]
    boxes = [[5, 5, 45, 35], [65, 35, 79, 55]]
    return KeypointAnnotation(
        np.array(points, dtype=np.float32),
        np.array(boxes, dtype=np.float32),
        np.array([0, 1]),
        np.zeros(2, dtype=bool),
        np.array([800, 200], dtype=np.float32),
    )


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype=np.uint8)


def whole(mirror: bool = False, flip: bool = False) -> Window:
    return Window(0, 0, 60, 80, (60, 80), mirror, flip)


def test_points_are_placed_with_the_image() -> None:
    found = place(image(), {"pose": two_objects()}, Plan((120, 200)), NAMED).annotations["pose"]
    np.testing.assert_allclose(found.points[0], [[40, 60, 2], [20, 20, 1], [80, 20, 2]])
    np.testing.assert_allclose(found.points[1, 1], 0)
    np.testing.assert_allclose(found.areas, [3200, 800])


def test_a_mirror_swaps_left_and_right() -> None:
    found = cut(image(), {"pose": two_objects()}, Plan((60, 80)), NAMED, whole(mirror=True)).annotations["pose"]
    np.testing.assert_allclose(found.points[0], [[60, 30, 2], [40, 10, 2], [70, 10, 1]])
    np.testing.assert_allclose(found.boxes[0], [35, 5, 75, 35])
    again = cut(image(), {"pose": found}, Plan((60, 80)), NAMED, whole(mirror=True)).annotations["pose"]
    np.testing.assert_allclose(again.points, two_objects().points)


def test_turned_both_ways_left_stays_left() -> None:
    window = whole(mirror=True, flip=True)
    found = cut(image(), {"pose": two_objects()}, Plan((60, 80)), NAMED, window).annotations["pose"]
    np.testing.assert_allclose(found.points[0], [[60, 30, 2], [70, 50, 1], [40, 50, 2]])
    upside = cut(image(), {"pose": two_objects()}, Plan((60, 80)), NAMED, whole(flip=True)).annotations["pose"]
    np.testing.assert_allclose(upside.points[0], [[20, 30, 2], [40, 50, 2], [10, 50, 1]])


def test_the_drawn_points_stay_on_their_pixels() -> None:
    """A white pixel at each point is found where the point comes to lie."""
    picture = np.zeros((60, 80, 3), dtype=np.uint8)
    annotation = two_objects()
    for x, y, seen in annotation.points.reshape(-1, 3):
        if seen:
            picture[int(y) : int(y) + 1, int(x) : int(x) + 1] = 255
    middle = replace(annotation, points=annotation.points + [0.5, 0.5, 0])
    for mirror in (False, True):
        for flip in (False, True):
            found = cut(picture, {"pose": middle}, Plan((60, 80)), NAMED, whole(mirror, flip))
            for x, y, seen in found.annotations["pose"].points.reshape(-1, 3):
                assert not seen or int(found.image[0, int(y), int(x)]) == 255


def test_points_that_leave_the_canvas_are_not_labelled() -> None:
    window = Window(0, 0, 60, 30, (60, 30))
    found = cut(image(), {"pose": two_objects()}, Plan((60, 30)), NAMED, window).annotations["pose"]
    assert found.labels.tolist() == [0], "the second object is outside"
    assert found.points[0, :, 2].tolist() == [2, 1, 0] and found.points[0, 2].tolist() == [0, 0, 0]


@given(seed=st.integers(0, 10_000))
def test_any_augmentation_keeps_points_in_their_boxes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    found = augment_onto(image(), {"pose": two_objects()}, Plan((48, 64)), NAMED, Augment.preset("strong"), draw)
    annotation = found.annotations["pose"]
    height, width = found.placement.size
    for points, box in zip(annotation.points, annotation.boxes, strict=True):
        for x, y, seen in points:
            if seen:
                assert 0 <= x <= width and 0 <= y <= height
                assert box[0] - 1e-2 <= x <= box[2] + 1e-2 and box[1] - 1e-2 <= y <= box[3] + 1e-2


def test_targets_leave_out_what_cannot_be_learned() -> None:
    crowded = replace(two_objects(), crowd=np.array([True, False]))
    blind = replace(two_objects(), points=two_objects().points * [[[1, 1, 0]], [[1, 1, 1]]])
    targets = stack_targets([two_objects(), crowded, blind], LABELS)
    assert targets.count.tolist() == [2, 1, 1] and targets.points.shape == (3, 2, 3, 3)
    assert targets.labels.tolist() == [[0, 1], [1, -1], [1, -1]]
    assert targets.points.dtype == torch.float32


def test_points_are_found_by_name() -> None:
    other = KeypointLabels(("dog", "fox"), ("right_ear", "tail", "nose"))
    change, notes = relabelling(LABELS, other, "pose", "data")
    found = change(two_objects())
    assert found.labels.tolist() == [0]
    np.testing.assert_allclose(found.points[0], [[75, 40, 2], [0, 0, 0], [70, 50, 2]])
    assert "cat" in str(notes[0])
