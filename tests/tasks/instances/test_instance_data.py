"""Annotations of objects with masks: read, moved with their image, mixed and stacked."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from vertebra.annotations.notes import Note
from vertebra.annotations.options import ReadOptions
from vertebra.annotations.run_lengths import Region
from vertebra.annotations.shapes import Shapes
from vertebra.annotations.table import Annotations, Category, Objects
from vertebra.errors import ConfigError, DataError
from vertebra.preprocess.crop_window import CropWindow
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.warp import Warp, rotation
from vertebra.tasks import get_task
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.region_mapping import mapped_region
from vertebra.tasks.mixing import MosaicTile, Rectangle

TASK = get_task("instances")
LABELS = InstanceLabels(("cell", "nucleus"))
SIZE = (40, 50)
SPEC = ResizeSpec((32, 48), "letterbox")


def ring_mask() -> np.ndarray:
    """A ring with a hole, and a second part beside it."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    radius = np.hypot(x - 20, y - 18)
    mask: np.ndarray = (radius < 12) & (radius > 5)
    mask[30:36, 38:47] = True
    return mask


def block(top: int, left: int, bottom: int, right: int) -> np.ndarray:
    mask = np.zeros(SIZE, dtype=bool)
    mask[top:bottom, left:right] = True
    return mask


def annotation(*masks: np.ndarray, crowd: tuple[int, ...] = ()) -> InstanceAnnotation:
    flags = np.isin(np.arange(len(masks)), crowd)
    rles = [Region.of(mask) for mask in masks]
    return InstanceAnnotation.of(rles, np.arange(len(masks)) % 2, flags, masks[0].shape[-2:])


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 25), st.integers(5, 20), st.integers(5, 25)),
    st.tuples(st.integers(4, 32), st.integers(4, 48)),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3),
)
def test_masks_move_as_the_label_map_of_the_image(
    window: tuple[int, int, int, int], out: tuple[int, int], mirror: bool, flip: bool, turns: int
) -> None:
    out = (min(out), min(out)) if turns % 2 else out
    crop = CropWindow(*window, out, mirror, flip, turns)
    expected = crop.labels(ring_mask(), crop.out, 0)
    np.testing.assert_array_equal(mapped_region(Region.of(ring_mask()), crop).mask(), expected)


def test_masks_move_in_rotations() -> None:
    warp = Warp(rotation(33, (25, 20)), SIZE, (30, 45))
    np.testing.assert_array_equal(
        mapped_region(Region.of(ring_mask()), warp).mask(), warp.labels(ring_mask(), warp.out, 0)
    )


def test_an_object_without_a_pixel_in_the_crop_goes() -> None:
    both = annotation(ring_mask(), block(2, 40, 10, 48))
    cut = TASK.data.cut(both, CropWindow(0, 30, 20, 20, (32, 32)), SPEC, LABELS)
    assert cut.labels.tolist() == [1] and cut.size == SPEC.size
    np.testing.assert_allclose(cut.boxes, [[16, 3, 29, 16]], atol=0.7)
    nothing = TASK.data.cut(both, CropWindow(38, 0, 2, 4, (32, 32)), SPEC, LABELS)
    assert nothing.boxes.shape == (0, 4) and nothing.rles == ()
    mostly = TASK.data.cut(both, CropWindow(0, 28, 40, 5, (32, 4)), SPEC, LABELS)
    assert not len(mostly.labels), "a rim of an object is no object"


def test_on_the_canvas_as_in_prediction() -> None:
    spec = ResizeSpec((80, 120))
    whole = TASK.data.to_canvas(annotation(ring_mask()), spec, spec.transform(*SIZE), LABELS)
    assert whole.size == (80, 120)
    np.testing.assert_array_equal(whole.rles[0].mask()[:80, :100], ring_mask().repeat(2, 0).repeat(2, 1))


def test_classes_of_the_branch_and_counts() -> None:
    three = annotation(ring_mask(), block(0, 0, 4, 4), block(8, 40, 20, 48), crowd=(2,))
    changed = TASK.data.relabel(three, np.array([-1, 0]), LABELS, InstanceLabels(("nucleus",)))
    assert changed.labels.tolist() == [0] and len(changed.rles) == 1
    assert TASK.data.counted(three, LABELS) == 2 and TASK.data.occurrences(three, 2).tolist() == [2, 1]
    assert len(TASK.data.object_boxes(three)) == 2


def test_stacked_for_training_without_crowds() -> None:
    full = annotation(block(4, 8, 18, 22), ring_mask(), crowd=(1,))
    none = full.take(np.zeros(2, dtype=bool))
    targets: Any = TASK.data.stack([full, none], LABELS)
    assert targets.masks.shape == (2, 1, 56, 56) and targets.count.tolist() == [1, 0]
    assert bool((targets.masks[0, 0] == 255).all()) and not bool(targets.masks[1].any())
    assert targets.boxes[0, 0].tolist() == [8, 4, 22, 18] and targets.labels.tolist() == [[0], [-1]]
    ring: Any = TASK.data.stack([annotation(ring_mask())], LABELS)
    share = ring.masks.float().mean() / 255
    sides = ring.boxes[0, 0, 2:] - ring.boxes[0, 0, :2]
    torch.testing.assert_close(share, torch.tensor(ring_mask().sum() / float(sides.prod())).float(), atol=1e-3, rtol=0)
    nothing: Any = TASK.data.stack([none, none], LABELS)
    assert nothing.masks.shape == (2, 0, 56, 56)


def test_mosaic_and_mixup_and_cutmix() -> None:
    mixing = TASK.mixing
    assert mixing is not None
    first, second = annotation(ring_mask()), annotation(block(10, 10, 30, 30))
    tiles = [MosaicTile(first, 0, 0, (20, 25)), MosaicTile(second, 20, 25, (20, 25))]
    four = mixing.mosaic(tiles, (40, 50), LABELS)
    expected = np.zeros((40, 50), dtype=bool)
    expected[:20, :25] = ring_mask()[:20, :25]
    np.testing.assert_array_equal(four.rles[0].mask(), expected)
    assert four.boxes[1].tolist() == [35, 30, 50, 40] and four.size == (40, 50)
    assert len(mixing.mixup(first, second, 0.5, LABELS).rles) == 2
    rectangle = Rectangle(5, 5, 25, 45)
    cut = mixing.cutmix(first, second, Rectangle(20, 0, 50, 40), 0.5, LABELS)
    np.testing.assert_array_equal(cut.rles[0].mask(), ring_mask() & ~block(0, 20, 40, 50))
    np.testing.assert_array_equal(cut.rles[1].mask(), block(10, 20, 30, 30))
    covered = mixing.cutmix(second, first, Rectangle(0, 0, 50, 38), 0.5, LABELS)
    assert len(covered.rles) == 1 and rectangle.left == 5


def test_pasted_objects_cover_others() -> None:
    mixing = TASK.mixing
    assert mixing is not None
    first, second = annotation(ring_mask()), annotation(block(6, 6, 24, 20), ring_mask(), crowd=(1,))
    paste, pasted = mixing.copy_paste(first, second, np.random.default_rng(0), LABELS)
    region = paste.region
    np.testing.assert_array_equal(region, block(6, 6, 24, 20))
    np.testing.assert_array_equal(pasted.rles[0].mask(), ring_mask() & ~region)
    np.testing.assert_array_equal(pasted.rles[1].mask(), region)


def test_through_a_transform_of_torchvision() -> None:
    from torchvision.transforms import v2

    wrapping = TASK.tv_tensors
    assert wrapping is not None
    both = annotation(ring_mask(), block(2, 40, 10, 48))
    tensors = v2.RandomHorizontalFlip(1.0)(wrapping.wrap(both, SIZE))
    back = wrapping.unwrap(both, tensors, SIZE, LABELS)
    np.testing.assert_array_equal(back.rles[0].mask(), ring_mask()[:, ::-1])
    assert back.boxes[1].tolist() == [2, 2, 10, 10]
    tensors["masks"] = tensors["masks"][:1]
    with pytest.raises(ConfigError, match="each mask needs its label"):
        wrapping.unwrap(both, tensors, SIZE, LABELS)


def table(shapes: list[Any], boxes: list[list[float]], crowd: list[bool]) -> Annotations:
    count = len(shapes)
    objects = Objects(
        np.zeros(count, dtype=np.int64),
        np.zeros(count, dtype=np.int64),
        np.array(boxes, dtype=np.float64).reshape(-1, 4),
        Shapes.of(shapes),
        np.zeros((0, 3)),
        np.zeros(count + 1, dtype=np.int64),
        np.array(crowd),
        np.full(count, np.nan),
    )
    return Annotations(
        root=Path(),
        images=np.array([b"a.png"]),
        categories=(Category("cell"),),
        objects=objects,
        labels=np.zeros((0, 2), dtype=np.int64),
        masks=None,
        annotated=np.array([True]),
        sizes=np.array([SIZE]),
        where=Path("set.json"),
    )


def test_outlines_run_lengths_and_objects_without_a_mask() -> None:
    ring = Region.of(ring_mask())
    square = [[4.0, 4, 14, 4, 14, 14, 4, 14]]
    nan = [float("nan")] * 4
    read = table(
        [square, {"size": list(SIZE), "counts": ring.runs.tolist()}, [], [], [[1.0, 1, 9, 9, 5, 5]]],
        [nan, nan, [30, 2, 40, 12], nan, nan],
        [False, True, False, False, False],
    )
    notes: list[Note] = []
    column, labels = TASK.data.read(read, ReadOptions(), notes)
    assert labels == InstanceLabels(("cell",))
    objects = column.get(0, SIZE)
    np.testing.assert_array_equal(objects.rles[0].mask(), block(4, 4, 14, 14))
    np.testing.assert_array_equal(objects.rles[1].mask(), ring_mask())
    np.testing.assert_array_equal(objects.rles[2].mask(), block(2, 30, 12, 40))
    assert objects.crowd.tolist() == [False, True, True]
    texts = [str(note) for note in notes]
    assert any("with a box but no outline" in text for text in texts), texts
    assert any("encloses nothing" in text for text in texts) and any(
        "without an outline or a box" in text for text in texts
    )
    doubled = column.get(0, (80, 100))
    assert abs(doubled.rles[1].area - 4 * ring.area) < 8
    with pytest.raises(DataError, match="annotated for"):
        column.get(0, (40, 80))
