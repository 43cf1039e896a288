"""Points move with their image, change sides in a mirror, and become targets."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vertebra.data.batches import stack_targets
from vertebra.data.class_mapping import class_mapping
from vertebra.data.loaders import build_loader
from vertebra.data.open import open_data
from vertebra.data.sampler import MixSampler
from vertebra.data.samples import MixedData, SampleKey
from vertebra.data.sources import Source
from vertebra.data.transforms import augment_onto, cut, to_canvas
from vertebra.errors import DataError
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.targets import KeypointTargets

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


def whole(mirror: bool = False, flip: bool = False) -> CropWindow:
    return CropWindow(0, 0, 60, 80, (60, 80), mirror, flip)


def test_points_are_placed_with_the_image() -> None:
    found = to_canvas(image(), {"pose": two_objects()}, ResizeSpec((120, 200)), NAMED).annotations["pose"]
    np.testing.assert_allclose(found.points[0], [[40, 60, 2], [20, 20, 1], [80, 20, 2]])
    np.testing.assert_allclose(found.points[1, 1], 0)
    np.testing.assert_allclose(found.areas, [3200, 800])


def test_a_mirror_swaps_left_and_right() -> None:
    found = cut(image(), {"pose": two_objects()}, ResizeSpec((60, 80)), NAMED, whole(mirror=True)).annotations["pose"]
    np.testing.assert_allclose(found.points[0], [[60, 30, 2], [40, 10, 2], [70, 10, 1]])
    np.testing.assert_allclose(found.boxes[0], [35, 5, 75, 35])
    again = cut(image(), {"pose": found}, ResizeSpec((60, 80)), NAMED, whole(mirror=True)).annotations["pose"]
    np.testing.assert_allclose(again.points, two_objects().points)


def test_turned_both_ways_left_stays_left() -> None:
    window = whole(mirror=True, flip=True)
    found = cut(image(), {"pose": two_objects()}, ResizeSpec((60, 80)), NAMED, window).annotations["pose"]
    np.testing.assert_allclose(found.points[0], [[60, 30, 2], [70, 50, 1], [40, 50, 2]])
    upside = cut(image(), {"pose": two_objects()}, ResizeSpec((60, 80)), NAMED, whole(flip=True)).annotations["pose"]
    np.testing.assert_allclose(upside.points[0], [[20, 30, 2], [40, 50, 2], [10, 50, 1]])


def test_left_and_right_change_places_only_in_a_mirror_image() -> None:
    """Upside down is a mirror image too; mirrored and upside down is half a turn, which is none."""
    for mirror, flip, expected in (
        (False, True, [[20, 30], [40, 50], [10, 50]]),
        (True, True, [[60, 30], [70, 50], [40, 50]]),
    ):
        found = cut(image(), {"pose": two_objects()}, ResizeSpec((60, 80)), NAMED, whole(mirror, flip)).annotations[
            "pose"
        ]
        np.testing.assert_allclose(found.points[0, :, :2], expected)
        again = cut(image(), {"pose": found}, ResizeSpec((60, 80)), NAMED, whole(mirror, flip)).annotations["pose"]
        np.testing.assert_allclose(again.points, two_objects().points)


def test_areas_and_sizes_follow() -> None:
    window = CropWindow(0, 0, 60, 80, (30, 80))
    found = cut(image(), {"pose": two_objects()}, ResizeSpec((60, 80)), NAMED, window).annotations["pose"]
    assert found.areas.tolist() == [400, 100] and found.areas.dtype == np.float32 and found.size == (30, 80)


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
            found = cut(picture, {"pose": middle}, ResizeSpec((60, 80)), NAMED, whole(mirror, flip))
            for x, y, seen in found.annotations["pose"].points.reshape(-1, 3):
                assert not seen or int(found.image[0, int(y), int(x)]) == 255


def test_points_that_leave_the_canvas_are_not_labeled() -> None:
    window = CropWindow(0, 0, 60, 30, (60, 30))
    found = cut(image(), {"pose": two_objects()}, ResizeSpec((60, 30)), NAMED, window).annotations["pose"]
    assert found.labels.tolist() == [0], "the second object is outside"
    assert found.points[0, :, 2].tolist() == [2, 1, 0] and found.points[0, 2].tolist() == [0, 0, 0]


@given(seed=st.integers(0, 10_000))
def test_any_augmentation_keeps_points_in_their_boxes(seed: int) -> None:
    draw = np.random.default_rng(seed)
    found = augment_onto(image(), {"pose": two_objects()}, ResizeSpec((48, 64)), NAMED, Augment.preset("strong"), draw)
    annotation = found.annotations["pose"]
    height, width = found.transform.size
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
    change, notes = class_mapping(LABELS, other, "pose", "data")
    found = change(two_objects())
    assert found.labels.tolist() == [0]
    np.testing.assert_allclose(found.points[0], [[75, 40, 2], [0, 0, 0], [70, 50, 2]])
    assert [str(note) for note in notes] == [
        "1 class of data that branch 'pose' has not was left out: cat",
        "1 point of branch 'pose' that data has not was not learned from it: tail",
    ]
    with pytest.raises(DataError, match=r"data: it has none of the points of branch 'pose' \(noes, tail\)\. .*'nose'"):
        class_mapping(LABELS, KeypointLabels(("dog",), ("noes", "tail")), "pose", "data")


def test_a_batch_for_points_and_boxes(tmp_path: Path, draw_image: Callable[..., Path]) -> None:
    """One file, two branches: each image is loaded once, with targets for both."""
    names = [f"{number}.png" for number in range(3)]
    for name in names:
        draw_image(tmp_path / name)
    points = [[3, 4, 2, 9, 8, 1], [20, 4, 2, 0, 0, 0], [0] * 6]
    content = {
        "images": [{"id": number, "file_name": name, "height": 24, "width": 32} for number, name in enumerate(names)],
        "categories": [{"id": 1, "name": "cat", "keypoints": ["nose", "tail"]}],
        "annotations": [
            {"id": number, "image_id": min(number, 1), "category_id": 1, "bbox": [2, 2, 20, 10], "keypoints": given}
            for number, given in enumerate(points)
        ],
    }
    for split in ("train", "val"):
        (tmp_path / f"{split}.json").write_text(json.dumps(content))
    index, boxes = (open_data(tmp_path, task, "train") for task in ("keypoints", "detect"))
    assert index.same_images(boxes) and not index.same_images(boxes.take([0]))
    both = index.joined(boxes)
    labels = {"pose": both.labels["keypoints"], "boxes": both.labels["detect"]}
    data = MixedData([Source(both, {"pose": "keypoints", "boxes": "detect"})], labels, ResizeSpec((48, 64)), None)
    assert len(data) == 3
    loader = build_loader(data, MixSampler(data, 3, shuffle=False))
    (batch,) = list(loader)
    targets = batch.targets["pose"].targets
    assert isinstance(targets, KeypointTargets) and batch.targets["pose"].rows.tolist() == [0, 1, 2]
    assert targets.count.tolist() == [1, 1, 0], "the object without points is passed over, the empty image is kept"
    np.testing.assert_allclose(targets.points[0, 0], [[6, 8, 2], [18, 16, 1]])
    assert batch.targets["boxes"].targets.count.tolist() == [1, 2, 0]
    assert [len(ground_truth.labels) for ground_truth in batch.ground_truths["pose"]] == [1, 2, 0]
    mirrored = MixedData(
        data.sources, labels, ResizeSpec((48, 64)), replace(Augment.preset("none"), horizontal_flip=1.0)
    )
    moved = mirrored[SampleKey(0, 0)].targets["pose"].points
    np.testing.assert_allclose(moved, [[[6, 8, 2], [18, 16, 1]]], err_msg="not mirrored: left and right are not known")
    labels["pose"] = KeypointLabels(("cat",), ("nose", "tail"), flip_pairs=())
    mirrored = MixedData(
        data.sources, labels, ResizeSpec((48, 64)), replace(Augment.preset("none"), horizontal_flip=1.0)
    )
    moved = mirrored[SampleKey(0, 0)].targets["pose"].points
    np.testing.assert_allclose(moved, [[[58, 8, 2], [46, 16, 1]]])


UNKNOWN = KeypointLabels(LABELS.classes, LABELS.points)
BOXES = DetectAnnotation(np.array([[5, 5, 45, 35]], dtype=np.float32), np.array([0]), np.zeros(1, dtype=bool))


@pytest.mark.parametrize("preset", ["light", "default", "strong"])
def test_points_whose_pairs_are_unknown_are_never_mirrored(preset: str) -> None:
    """Three points turn clockwise, and in a mirror image the other way; the boxes of the same image are not mirrored either."""
    turns: set[bool] = set()
    labels = {"pose": UNKNOWN, "boxes": DetectLabels(("cat", "dog"))}
    augment = replace(Augment.preset(preset), vertical_flip=0.5)
    for seed in range(60):
        given = {"pose": two_objects(), "boxes": BOXES}
        found = augment_onto(image(), given, ResizeSpec((60, 80)), labels, augment, np.random.default_rng(seed))
        for points in found.annotations["pose"].points:
            if (points[:, 2] > 0).all():
                (a, b), (c, d) = points[1, :2] - points[0, :2], points[2, :2] - points[0, :2]
                turns.add(bool(a * d - b * c > 0))
    assert turns == {True}


def test_an_image_without_points_is_still_mirrored() -> None:
    """Beside a branch whose pairs are unknown, images that are labeled for another branch only are mirrored as ever."""
    labels = {"pose": UNKNOWN, "boxes": DetectLabels(("cat", "dog"))}
    always = replace(Augment.preset("none"), horizontal_flip=1.0)
    for labeled, left in (({"boxes": BOXES}, 35), ({"boxes": BOXES, "pose": two_objects()}, 5)):
        found = augment_onto(image(), labeled, ResizeSpec((60, 80)), labels, always, np.random.default_rng(0))
        assert found.annotations["boxes"].boxes[0, 0] == left
