"""Images and their annotations come onto the canvas together."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from vertebra.data.augmentation.crop_windows import crop_window, zoom_window
from vertebra.data.on_canvas import OnCanvas
from vertebra.data.transforms import (
    augment_onto,
    cut,
    to_canvas,
)
from vertebra.errors import UnknownName
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.images import apply
from vertebra.recipe.augment import Augment
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.labels import SegmentLabels

LABELS = {"regions": SegmentLabels(("a", "b", "c")), "planes": SegmentLabels(("a",), multilabel=True)}
STILL = Augment.preset("none")
BOXES = np.array([[10, 8, 30, 24], [40, 30, 70, 50], [0, 0, 80, 60]], dtype=np.float32)


def made_image(height: int = 60, width: int = 80) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (height, width, 3), dtype=np.uint8)


def boxes(array: np.ndarray = BOXES) -> DetectAnnotation:
    count = len(array)
    return DetectAnnotation(array, np.arange(count), np.zeros(count, dtype=bool))


def scene() -> tuple[np.ndarray, dict[str, Any]]:
    """One white rectangle on black, as box and mask."""
    image = np.zeros((60, 80, 3), dtype=np.uint8)
    image[20:44, 25:61] = 255
    mask = (image[:, :, 0] > 0).astype(np.uint8)
    box = boxes(np.array([[25, 20, 61, 44]], dtype=np.float32))
    return image, {"boxes": box, "regions": SegmentAnnotation(mask), "planes": SegmentAnnotation(mask[None])}


def whole(resize_spec: ResizeSpec, height: int, width: int) -> CropWindow:
    return CropWindow(0, 0, height, width, resize_spec.transform(height, width).size)


@pytest.mark.parametrize("mode", ["letterbox", "resize"])
@pytest.mark.parametrize("size", [(30, 50), (31, 33), (120, 100)])
def test_torchvisions_way_equals_pillows(mode: Any, size: tuple[int, int]) -> None:
    resize_spec = ResizeSpec(size, mode)
    image, annotations = made_image(), {"boxes": boxes(), "regions": SegmentAnnotation(made_image()[:, :, 0] // 100)}
    plain = to_canvas(image, annotations, resize_spec, LABELS)
    moved = cut(image, annotations, resize_spec, LABELS, whole(resize_spec, 60, 80))
    np.testing.assert_array_equal(plain.image.permute(1, 2, 0).numpy(), apply(resize_spec, image))
    assert (plain.image.int() - moved.image.int()).abs().max() <= 1
    np.testing.assert_array_equal(plain.annotations["regions"].mask, moved.annotations["regions"].mask)
    np.testing.assert_allclose(plain.annotations["boxes"].boxes, moved.annotations["boxes"].boxes, rtol=1e-5)
    assert plain.transform == moved.transform


def test_without_changes_training_sees_what_prediction_sees() -> None:
    image, annotations = scene()
    for mode in ("letterbox", "resize", "center_crop"):
        resize_spec = ResizeSpec((40, 44), mode)  # type: ignore[arg-type]
        found = augment_onto(image, annotations, resize_spec, LABELS, STILL, np.random.default_rng(0))
        np.testing.assert_array_equal(found.image.permute(1, 2, 0).numpy(), apply(resize_spec, image))


def check_agreement(found: OnCanvas) -> None:
    """The white rectangle, its box and its mask are at one place."""
    height, width = found.transform.size
    gray = found.image[0].numpy().astype(int)
    mask = found.annotations["regions"].mask
    np.testing.assert_array_equal(mask, found.annotations["planes"].mask[0])
    assert (mask[height:] == 255).all() and (mask[:, width:] == 255).all() and mask[:height, :width].max() <= 1
    inside = np.zeros_like(mask, dtype=bool)
    inside[:height, :width] = True
    assert ((gray > 200) & inside <= (mask == 1)).all() and ((gray < 55) & inside <= (mask == 0)).all()
    rows, columns = np.nonzero(mask == 1)
    if len(found.annotations["boxes"].labels):
        left, top, right, bottom = found.annotations["boxes"].boxes[0]
        extent = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
        np.testing.assert_allclose((left, top, right, bottom), extent, atol=0.75)
    else:
        assert len(rows) < 60


@pytest.mark.parametrize("seed", range(40))
def test_image_box_and_mask_move_together(seed: int) -> None:
    draw = np.random.default_rng(seed)
    image, annotations = scene()
    resize_spec = ResizeSpec((48, 40) if seed % 2 else (70, 90), "letterbox" if seed % 3 else "resize")
    augment = Augment(vertical_flip=0.5, scale=(0.4, 2.5), stretch=1.4, brightness=0, contrast=0, saturation=0, hue=0)
    check_agreement(augment_onto(image, annotations, resize_spec, LABELS, augment, draw))


def test_mirrored_boxes() -> None:
    resize_spec = ResizeSpec((60, 100))
    image = made_image()
    for mirror, flip, expected in (
        (True, False, [50, 8, 70, 24]),
        (False, True, [10, 36, 30, 52]),
        (True, True, [50, 36, 70, 52]),
    ):
        found = cut(
            image,
            {"boxes": boxes(BOXES[:1])},
            resize_spec,
            {},
            replace(whole(resize_spec, 60, 80), mirror=mirror, flip=flip),
        )
        assert found.annotations["boxes"].boxes.tolist() == [expected]
        undone = found.image[:, :60, :80]
        undone = undone.flip(2) if mirror else undone
        undone = undone.flip(1) if flip else undone
        np.testing.assert_array_equal(undone.permute(1, 2, 0).numpy(), image)
        assert (found.image[:, :, 80:] == torch.tensor([124, 116, 104])[:, None, None]).all()


def test_boxes_of_which_little_is_left_are_dropped() -> None:
    window = CropWindow(0, 0, 60, 32, (60, 32))
    edge = np.array([[30, 10, 40, 20], [29, 10, 40, 20], [20, 0, 70, 60], [10, 8, 30, 24], [50, 2, 60, 9]])
    edge = np.concatenate([edge, [[14, 0, 80, 60]]])
    found = cut(made_image(), {"boxes": boxes(edge.astype(np.float32))}, ResizeSpec((60, 32)), {}, window)
    # 2 of 10 columns go, 3 of 11 stay; 12 of 50 go; what is whole stays; outside goes; 18 of 66 pixels stay
    assert found.annotations["boxes"].labels.tolist() == [1, 3, 5]
    large = np.array([[12, 0, 80, 60]], dtype=np.float32)
    narrow = cut(made_image(), {"boxes": boxes(large)}, ResizeSpec((60, 28)), {}, CropWindow(0, 0, 60, 28, (60, 28)))
    assert narrow.annotations["boxes"].boxes.tolist() == [[12, 0, 28, 60]]


def test_no_boxes_stay_no_boxes() -> None:
    nothing = boxes(np.zeros((0, 4), dtype=np.float32))
    for seed in range(3):
        draw = np.random.default_rng(seed)
        found = augment_onto(made_image(), {"boxes": nothing}, ResizeSpec((32, 32)), {}, Augment(), draw)
        assert found.annotations["boxes"].boxes.shape == (0, 4)
    assert to_canvas(made_image(), {"boxes": nothing}, ResizeSpec((32, 32)), {}).annotations["boxes"].boxes.shape == (
        0,
        4,
    )


def test_placement_maps_boxes_as_the_window_does() -> None:
    resize_spec = ResizeSpec((40, 40))
    window = CropWindow(10, 20, 30, 40, (30, 40))
    transform = window.transform(resize_spec, (60, 80))
    inner = np.array([[25, 12, 45, 36]], dtype=np.float32)
    found = cut(made_image(), {"boxes": boxes(inner)}, resize_spec, {}, window)
    np.testing.assert_allclose(found.annotations["boxes"].boxes, transform.boxes_to_canvas(inner))
    np.testing.assert_allclose(found.annotations["boxes"].boxes, [[5, 2, 25, 26]])
    assert transform.size == (30, 40)


@pytest.mark.parametrize("mode", ["letterbox", "resize", "center_crop"])
def test_windows_lie_in_the_image_and_fit_the_canvas(mode: Any) -> None:
    draw = np.random.default_rng(0)
    strong = Augment.preset("strong")
    for _ in range(300):
        height, width = draw.integers(1, 200, 2).tolist()
        resize_spec = ResizeSpec(tuple(draw.integers(8, 100, 2).tolist()), mode)
        for make in (zoom_window, crop_window):
            window = make(resize_spec, (height, width), strong, draw)
            assert 0 <= window.top <= window.top + window.height <= height
            assert 0 <= window.left <= window.left + window.width <= width
            assert window.height >= 1 and window.width >= 1
            assert all(1 <= out <= side for out, side in zip(window.out, resize_spec.size, strict=True))


def test_crop_windows_have_the_wished_area() -> None:
    draw = np.random.default_rng(0)
    augment = Augment(crop_area=(0.3, 0.6), crop_ratio=1.2)
    windows = [crop_window(ResizeSpec((32, 32)), (300, 400), augment, draw) for _ in range(200)]
    areas = np.array([window.height * window.width / 120000 for window in windows])
    assert 0.29 < areas.min() < 0.33 and 0.57 < areas.max() < 0.61
    assert {window.out for window in windows} == {(24, 32)}


def test_class_only_images_fill_the_place_of_the_whole() -> None:
    draw = np.random.default_rng(0)
    found = augment_onto(made_image(), {"animal": ClassifyAnnotation(1)}, ResizeSpec((32, 32)), {}, Augment(), draw)
    assert found.transform.size == (24, 32) and found.annotations["animal"].label == 1


def test_colors_leave_what_is_beside_the_image() -> None:
    vivid = replace(Augment.preset("none"), brightness=0.5)
    found = augment_onto(made_image(), {"boxes": boxes()}, ResizeSpec((60, 60)), {}, vivid, np.random.default_rng(5))
    assert (found.image[:, 45:] == torch.tensor([124, 116, 104])[:, None, None]).all()
    assert found.image[:, :45].float().mean() != apply(ResizeSpec((60, 60)), made_image())[:45].mean()


def test_presets() -> None:
    assert Augment.preset("default") == Augment()
    assert not Augment.preset("none").moves and Augment.preset("light").moves
    with pytest.raises(UnknownName, match="Did you mean 'strong'"):
        Augment.preset("stron")


def test_main_random_state_is_untouched() -> None:
    before = torch.random.get_rng_state(), np.random.get_state()[1].copy()  # type: ignore[union-attr]
    image, annotations = scene()
    augment_onto(image, annotations, ResizeSpec((32, 32)), LABELS, Augment.preset("strong"), np.random.default_rng(0))
    assert torch.equal(before[0], torch.random.get_rng_state())
    np.testing.assert_array_equal(before[1], np.random.get_state()[1])  # type: ignore[index]
