"""Whatever moves an image moves its boxes, masks and points in the same way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from vertebra.data.augmentation.iou_crop import iou_window
from vertebra.data.on_canvas import OnCanvas
from vertebra.data.transforms import augment_onto, cut
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.recipe.augment import Augment
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels

STILL = Augment.preset("none")
POINTS = ((40, 30), (80, 50), (60, 80))  # of the red, the green and the blue spot
LABELS = {
    "regions": SegmentLabels(("background", "spot")),
    "planes": SegmentLabels(("spot",), multilabel=True),
    "pose": KeypointLabels(("spots",), ("red", "green", "blue"), flip_pairs=()),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "horizontal_flip": {"horizontal_flip": 1.0},
    "vertical_flip": {"vertical_flip": 1.0},
    "quarter_turn": {"quarter_turn": 1.0},
    "rotate": {"rotate": 180.0},
    "perspective": {"perspective": 0.15},
    "iou_crop": {"iou_crop": 1.0},
    "scale": {"scale": (0.6, 2.0), "stretch": 1.3},
    "all": {
        "horizontal_flip": 0.5, "vertical_flip": 0.5, "quarter_turn": 0.5, "rotate": 30.0, "perspective": 0.1, "iou_crop": 0.3,
        "scale": (0.7, 1.6), "stretch": 1.2,
    },
}  # fmt: skip


def scene() -> tuple[np.ndarray, dict[str, Any]]:
    """Three square spots of 12 pixels on black: each is a box, a spot of the mask, and a point at its center."""
    image, mask, boxes = np.zeros((100, 120, 3), dtype=np.uint8), np.zeros((100, 120), dtype=np.uint8), []
    for channel, (x, y) in enumerate(POINTS):
        image[y - 6 : y + 6, x - 6 : x + 6, channel] = 255
        mask[y - 6 : y + 6, x - 6 : x + 6] = 1
        boxes.append([x - 6, y - 6, x + 6, y + 6])
    array = np.array(boxes, dtype=np.float32)
    points = np.array([[[*point, 2] for point in POINTS]], dtype=np.float32)
    hull = np.array([[34, 24, 86, 86]], dtype=np.float32)
    none, area = np.zeros(1, dtype=bool), np.array([3 * 144], dtype=np.float32)
    return image, {
        "boxes": DetectAnnotation(array, np.arange(3), np.zeros(3, dtype=bool)),
        "regions": SegmentAnnotation(mask),
        "planes": SegmentAnnotation(mask[None]),
        "pose": KeypointAnnotation(points, hull, np.zeros(1, dtype=np.int64), none, area),
    }


def check_spots(result: OnCanvas, tolerance: float) -> int:
    """Each spot is in its box, its point is in the spot, and the mask has all spots; returns how many boxes there are."""
    height, width = result.transform.size
    pixels = result.image[:, :height, :width].numpy().astype(int)
    mask = result.annotations["regions"].mask
    np.testing.assert_array_equal(mask == 1, result.annotations["planes"].mask[0] == 1)
    assert (mask[height:] == 255).all() and (mask[:, width:] == 255).all()
    objects, pose = result.annotations["boxes"], result.annotations["pose"]
    spots = [(pixels[channel] > 200) & (np.delete(pixels, channel, axis=0).max(axis=0) < 60) for channel in range(3)]
    for label, box in zip(objects.labels, objects.boxes, strict=True):
        rows, columns = np.nonzero(spots[label])
        extent = np.array([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1])
        grown = box + np.array([-1, -1, 1, 1]) * tolerance
        assert (grown[:2] <= extent[:2]).all() and (extent[2:] <= grown[2:]).all(), "the spot is in its box"
        assert mask[rows, columns].min() == 1 == mask[rows, columns].max(), "the mask has the spot"
    inside = np.any(spots, axis=0)
    assert ((mask[:height, :width] == 1) >= inside).all()
    assert (pixels.max(axis=0)[mask[:height, :width] == 1] > 40).all(), "the mask has nothing but spots"
    for points in pose.points:
        for channel, (x, y, visibility) in enumerate(points):
            if visibility and 1 < x < width - 1 and 1 < y < height - 1:
                assert pixels[channel, int(y), int(x)] > 200, "the point is in its spot"
    return len(objects.labels)


@pytest.mark.parametrize("name", OPTIONS)
def test_boxes_masks_and_points_move_with_their_image(name: str) -> None:
    image, annotations = scene()
    augment = replace(STILL, **OPTIONS[name])
    seen, images = 0, []
    for seed in range(24):
        resize_spec = ResizeSpec(((100, 120), (150, 130), (90, 160))[seed % 3], "letterbox" if seed % 2 else "resize")
        result = augment_onto(image, annotations, resize_spec, LABELS, augment, np.random.default_rng(seed))
        seen += check_spots(result, tolerance=1.0)
        images.append(result.image.numpy().tobytes())
    assert seen > 24, "most objects remain"
    if name not in ("horizontal_flip", "vertical_flip"):
        assert len(set(images)) > 12, "the images differ"


@pytest.mark.parametrize(("option", "axis"), [("horizontal_flip", 1), ("vertical_flip", 0)])
def test_a_flip_twice_is_the_identity(option: str, axis: int) -> None:
    image, annotations = scene()
    resize_spec, draw = ResizeSpec((100, 120)), np.random.default_rng(0)
    augment = replace(STILL, **{option: 1.0})
    once = augment_onto(image, annotations, resize_spec, LABELS, augment, draw)
    np.testing.assert_array_equal(once.image.permute(1, 2, 0).numpy(), np.flip(image, axis))
    twice = augment_onto(
        once.image.permute(1, 2, 0).contiguous().numpy(), once.annotations, resize_spec, LABELS, augment, draw
    )
    np.testing.assert_array_equal(twice.image.permute(1, 2, 0).numpy(), image)
    for name, annotation in annotations.items():
        for field, value in vars(annotation).items():
            if field not in ("size", "outlines") and value is not None:
                np.testing.assert_allclose(getattr(twice.annotations[name], field), value, atol=1e-4)


def test_four_quarter_turns_are_the_identity() -> None:
    image, annotations = scene()
    pixels, held, sizes = image, dict(annotations), ((120, 100), (100, 120)) * 2
    for rows, columns in sizes:
        window = CropWindow(0, 0, columns, rows, (rows, columns), turns=1)
        result = cut(pixels, held, ResizeSpec((rows, columns), "resize"), LABELS, window)
        np.testing.assert_array_equal(result.image.permute(1, 2, 0).numpy(), np.rot90(pixels))
        pixels, held = result.image.permute(1, 2, 0).contiguous().numpy(), result.annotations
        assert held["pose"].points[0, :, 2].tolist() == [2, 2, 2] and held["pose"].areas.tolist() == [432]
    np.testing.assert_array_equal(pixels, image)
    np.testing.assert_allclose(held["boxes"].boxes, annotations["boxes"].boxes)
    np.testing.assert_allclose(held["pose"].points, annotations["pose"].points)
    np.testing.assert_array_equal(held["regions"].mask, annotations["regions"].mask)


@pytest.mark.parametrize("turns", range(4))
def test_a_turned_and_mirrored_window_is_its_matrix(turns: int) -> None:
    out = (30, 20) if turns % 2 else (20, 30)
    window = CropWindow(4, 6, 40, 60, out, mirror=True, flip=turns == 2, turns=turns)
    points = np.random.default_rng(0).random((9, 2)) * 80
    expected = np.concatenate([points, np.ones((9, 1))], axis=1) @ window.matrix.T
    np.testing.assert_allclose(window.points(points), expected[:, :2], rtol=1e-5, atol=1e-5)
    assert window.area_scale == pytest.approx(0.25) == pytest.approx(abs(np.linalg.det(window.matrix)))


def test_areas_follow_the_scale_and_the_visible_part() -> None:
    image, annotations = scene()
    augment = replace(STILL, rotate=180.0, scale=(2.0, 2.0))
    for seed in range(8):
        draw = np.random.default_rng(seed)
        result = augment_onto(image, annotations, ResizeSpec((100, 120)), LABELS, augment, draw).annotations
        np.testing.assert_allclose(result["pose"].areas, 4 * 432, rtol=0.02)
        boxes = result["boxes"].boxes
        assert (boxes >= 0).all() and (boxes <= [120, 100, 120, 100]).all() and (boxes[:, 2:] - boxes[:, :2] >= 1).all()
        visible = result["pose"].points[..., 2] > 0
        x, y = result["pose"].points[..., 0], result["pose"].points[..., 1]
        assert ((x >= 0) & (x <= 120) & (y >= 0) & (y <= 100) & visible)[visible].all() and not x[~visible].any()


def test_points_whose_pairs_are_unknown_are_turned_and_not_mirrored() -> None:
    image, annotations = scene()
    labels = {"pose": KeypointLabels(("spots",), ("red", "green", "blue"), flip_pairs=None)}
    augment = replace(STILL, horizontal_flip=0.5, vertical_flip=0.5, quarter_turn=0.5, rotate=40, perspective=0.1)
    x, y = np.array(POINTS, dtype=np.float64).T
    sign = np.sign((x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0]))
    for seed in range(20):
        draw = np.random.default_rng(seed)
        result = augment_onto(image, {"pose": annotations["pose"]}, ResizeSpec((100, 120)), labels, augment, draw)
        for points in result.annotations["pose"].points:
            (x, y), visible = points[:, :2].T, points[:, 2].all()
            area = (x[1] - x[0]) * (y[2] - y[0]) - (x[2] - x[0]) * (y[1] - y[0])
            assert not visible or np.sign(area) == sign, "the order around the triangle is kept"


def test_an_iou_crop_keeps_an_object() -> None:
    boxes = np.array([[10, 10, 50, 40], [70, 60, 110, 90]], dtype=np.float32)
    sizes = set()
    for seed in range(60):
        window = iou_window(ResizeSpec((64, 64), "resize"), (100, 120), boxes, False, np.random.default_rng(seed))
        low = np.maximum(boxes[:, :2], [window.left, window.top])
        high = np.minimum(boxes[:, 2:], [window.left + window.width, window.top + window.height])
        assert (high - low > 0).all(axis=1).any()
        assert 0.5 <= window.width / window.height <= 2 and window.out == (64, 64)
        assert window.width >= 36 and window.height >= 30
        sizes.add((window.width, window.height))
    assert len(sizes) > 20 and (120, 100) in sizes


def test_an_iou_crop_is_for_images_with_boxes_only() -> None:
    image, annotations = scene()
    augment = replace(STILL, iou_crop=1.0)
    for held in ({"regions": annotations["regions"]}, {"animal": ClassifyAnnotation(0)}):
        result = augment_onto(image, held, ResizeSpec((100, 120)), LABELS, augment, np.random.default_rng(0))
        np.testing.assert_array_equal(result.image.permute(1, 2, 0).numpy(), image)


def test_images_that_have_only_a_class_are_turned_too() -> None:
    image, _ = scene()
    augment = replace(STILL, quarter_turn=1.0)
    results = [
        augment_onto(
            image, {"animal": ClassifyAnnotation(0)}, ResizeSpec((120, 120)), {}, augment, np.random.default_rng(seed)
        )
        for seed in range(6)
    ]
    assert {result.transform.size for result in results} == {(100, 120), (120, 100)}
    for result in results:
        height, width = result.transform.size
        pixels = result.image[:, :height, :width].permute(1, 2, 0).numpy()
        assert any(np.array_equal(pixels, np.rot90(image, turns)) for turns in (1, 2, 3))
