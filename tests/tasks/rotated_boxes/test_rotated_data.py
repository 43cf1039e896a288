"""Annotations of rotated boxes: read, moved with their image, mixed and stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw

from tests.geometry.test_rectangles import one, turned
from vertebra.annotations.builder import AnnotationBuilder
from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.rectangles_around import rectangles_around
from vertebra.annotations.run_lengths import Region
from vertebra.annotations.segmentations import Segmentation
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations
from vertebra.errors import DataError
from vertebra.geometry.rectangles import areas, degrees, rotated_iou
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.warp import Warp, rotation
from vertebra.tasks import get_task
from vertebra.tasks.mixing import MosaicTile
from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation
from vertebra.tasks.rotated_boxes.column import shown
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels

TASK = get_task("rotated_boxes")
LABELS = RotatedBoxLabels(("ship", "plane"))
SIZE = (80, 100)
SPEC = ResizeSpec((64, 96), "letterbox")


def annotation(*corners: np.ndarray, crowd: tuple[int, ...] = ()) -> RotatedBoxAnnotation:
    count = len(corners)
    stacked = np.stack(corners).astype(np.float32) if count else np.zeros((0, 4, 2), np.float32)
    return RotatedBoxAnnotation(stacked, np.arange(count) % 2, np.isin(np.arange(count), crowd))


def drawn(corners: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(H, W) bool, the pixels of a rectangle, drawn eight times as large."""
    picture = Image.new("L", (8 * size[1], 8 * size[0]))
    ImageDraw.Draw(picture).polygon(
        [tuple(8 * point) for point in corners.tolist() for point in [np.array(point)]], fill=255
    )
    pixels: np.ndarray = np.asarray(picture).reshape(size[0], 8, size[1], 8).mean(axis=(1, 3)) > 127
    return pixels


def overlap(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


@settings(max_examples=40)
@given(
    st.floats(-180, 180),
    st.tuples(st.integers(0, 10), st.integers(0, 15), st.integers(70, 80), st.integers(80, 100)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_boxes_move_with_the_pixels_of_the_image(
    angle: float, window: tuple[int, int, int, int], mirror: bool, flip: bool, turns: int
) -> None:
    corners = one(50, 40, 40, 14, angle)
    window = (*window[:2], min(window[2], SIZE[0] - window[0]), min(window[3], SIZE[1] - window[1]))
    crop = CropWindow(*window, (60, 60) if turns % 2 else (64, 72), mirror, flip, turns)
    spec = ResizeSpec((64, 72))
    cut = TASK.data.cut(annotation(corners), crop, spec, LABELS)
    expected = crop.labels(drawn(corners, SIZE).astype(np.uint8), crop.out, 0) > 0
    assert overlap(drawn(cut.corners[0], crop.out), expected) > 0.75


@settings(max_examples=40)
@given(st.floats(-180, 180), st.floats(-180, 180))
def test_boxes_turn_in_rotations(angle: float, degrees_of_image: float) -> None:
    corners = one(50, 40, 30, 12, angle)
    warp = Warp(rotation(degrees_of_image, (50, 40)), SIZE, SIZE)
    cut = TASK.data.cut(annotation(corners), warp, ResizeSpec(SIZE), LABELS)
    expected = one(50, 40, 30, 12, angle - degrees_of_image)
    assert rotated_iou(cut.corners.astype(np.float64), expected[None])[0, 0] == pytest.approx(1, abs=1e-4)


def test_what_is_cropped_away() -> None:
    both = annotation(one(20, 20, 30, 8, 45), one(80, 60, 30, 8, -45), one(50, 40, 12, 12, 20), crowd=(2,))
    cut = TASK.data.cut(both, CropWindow(0, 0, 45, 55, (45, 55)), ResizeSpec((45, 55)), LABELS)
    assert cut.labels.tolist() == [0, 0] and cut.crowd.tolist() == [False, True]
    np.testing.assert_allclose(degrees(cut.corners)[0], 45, atol=1e-3)
    half = TASK.data.cut(both, CropWindow(0, 0, 80, 20, (80, 20)), ResizeSpec((80, 20)), LABELS)
    assert half.labels.tolist() == [0] and areas(half.corners)[0] < 0.75 * 240, "the box of the visible part"
    rim = TASK.data.cut(both, CropWindow(0, 0, 80, 11, (80, 11)), ResizeSpec((80, 11)), LABELS)
    assert not len(rim.labels), "less than a quarter is left"
    none = TASK.data.cut(annotation(), CropWindow(0, 0, 9, 9, (9, 9)), ResizeSpec((9, 9)), LABELS)
    assert none.boxes.shape == (0, 4)


def test_a_box_that_only_touches_the_image_is_outside() -> None:
    corner = one(50, SIZE[0] + np.sqrt(2) * 10 - 4e-4, 20, 20, 45)
    assert 0 < SIZE[0] - corner[:, 1].min() < 5e-4
    assert len(shown(annotation(corner, one(50, 40, 20, 20, 45)), SIZE, 0.0).labels) == 1


def test_a_stretched_canvas_has_rectangles_again() -> None:
    spec = ResizeSpec((160, 100), "resize")
    whole = TASK.data.to_canvas(annotation(one(50, 40, 20, 20, 45)), spec, spec.transform(*SIZE), LABELS)
    first, second = np.diff(whole.corners[0], axis=0)[:2]
    assert abs(first @ second) < 1e-2, "not a parallelogram"
    assert areas(whole.corners)[0] >= 2 * 400


def test_operations_on_annotations() -> None:
    both = annotation(one(20, 20, 30, 8, 45), one(60, 60, 30, 8, -45), crowd=(1,))
    changed = TASK.data.relabel(both, np.array([-1, 0]), LABELS, RotatedBoxLabels(("plane",)))
    assert changed.labels.tolist() == [0] and TASK.data.counted(both, LABELS) == 1
    targets: Any = TASK.data.stack([both, annotation()], LABELS)
    assert targets.corners.shape == (2, 2, 4, 2) and targets.count.tolist() == [2, 0]
    assert targets.labels.tolist() == [[0, 1], [-1, -1]] and targets.crowd[0].tolist() == [False, True]
    mixing = TASK.mixing
    assert mixing is not None and mixing.mixup(both, changed, 0.5, LABELS).labels.tolist() == [0, 1, 0]
    tiles = [MosaicTile(both, 0, 0, SIZE), MosaicTile(changed, 80, 100, SIZE)]
    np.testing.assert_allclose(mixing.mosaic(tiles, (160, 200), LABELS).corners[2], both.corners[1] + [100, 80])


def test_through_a_transform_of_torchvision() -> None:
    from torchvision import tv_tensors
    from torchvision.transforms import v2

    assert TASK.tv_tensors is not None
    both = annotation(one(20, 20, 30, 8, 30), one(60, 50, 30, 8, -60))
    wrapped = TASK.tv_tensors.wrap(both, SIZE)
    image = tv_tensors.Image(np.zeros((3, *SIZE), np.uint8))
    moved = v2.RandomHorizontalFlip(p=1)({"image": image, **wrapped})
    flipped = TASK.tv_tensors.unwrap(both, moved, SIZE, LABELS)
    expected = np.stack([one(80, 20, 30, 8, -30), one(40, 50, 30, 8, 60)])
    np.testing.assert_allclose(rotated_iou(flipped.corners.astype(np.float64), expected).diagonal(), 1, atol=1e-3)


def read(fill: Any) -> tuple[Any, list[Note]]:
    builder = AnnotationBuilder(Path(), Path("set"))
    row = builder.image("a.png", size=SIZE)
    fill(builder, row)
    annotations: Annotations = builder.build()
    notes: list[Note] = []
    column, _ = TASK.data.read(annotations, ReadOptions(), notes)
    return column.get(0, SIZE), notes


def test_outlines_of_any_kind_are_read() -> None:
    box = one(50, 40, 40, 12, 25)
    region = Region.of(drawn(box, SIZE))

    def fill(builder: AnnotationBuilder, row: int) -> None:
        builder.object(row, "ship", shape=Segmentation((box.reshape(-1),)))
        dense = np.concatenate(
            [np.linspace(a, b, 7, endpoint=False) for a, b in zip(box, np.roll(box, -1, 0), strict=True)]
        )
        builder.object(row, "ship", shape=Segmentation((dense.reshape(-1),)))
        builder.object(row, "ship", shape=Segmentation(runs=region.runs, size=region.size))
        builder.object(row, "ship", shape=Segmentation((box[:2].repeat(2, 0).reshape(-1),)))
        builder.object(row, "plane", box=(1, 2, 30, 20))
        builder.object(row, "ship", shape=Segmentation(runs=np.array([SIZE[0] * SIZE[1]]), size=SIZE))

    got, notes = read(fill)
    overlaps = rotated_iou(got.corners.astype(np.float64), box[None])[:, 0]
    assert (overlaps[:2] > 0.999).all() and overlaps[2] > 0.85 and got.crowd.tolist() == [False, False, False, True]
    assert [str(note) for note in notes] == [
        "1 object whose outline is no wider than a line was dropped: a.png",
        "1 object with a box but no outline, so of unknown angle was ignored in training and metrics: a.png",
        "1 object without an outline or a box was dropped: a.png",
    ]
    with pytest.raises(
        DataError, match="1 object with a box but no outline, so of unknown angle was ignored"
    ) as caught:
        read(lambda builder, row: builder.object(row, "ship", box=(1, 2, 30, 20)))
    assert "iscrowd" not in str(caught.value)


def test_the_smallest_rectangle_around_many_points() -> None:
    draw = np.random.default_rng(1)
    rectangles = turned(8)
    shapes = []
    for corners in rectangles:
        shares = draw.uniform(0, 1, (30, 2))
        inside = corners[0] + shares[:, :1] * (corners[1] - corners[0]) + shares[:, 1:] * (corners[3] - corners[0])
        shapes.append(Segmentation((np.concatenate([inside, corners]).reshape(-1),)))
    got = rectangles_around(Shapes.joined([*shapes, Segmentation()]))
    assert np.isnan(got[-1]).all()
    np.testing.assert_allclose(rotated_iou(got[:-1], rectangles).diagonal(), 1, atol=0.01)
