"""Outlines and run lengths become masks, as COCO's own code makes them."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from vertebra.annotations.outlines import clip_outline, outline_runs
from vertebra.annotations.run_lengths import Region, check_runs, decode_runs
from vertebra.annotations.shapes import Shapes
from vertebra.errors import DataError
from vertebra.tasks.segment.outline_column import PolygonRLEColumn

SIZE = (37, 53)


def made_mask(seed: int, share: float = 0.5) -> np.ndarray:
    return (np.random.default_rng(seed).random(SIZE) < share).astype(np.uint8)


def compressed(mask: np.ndarray) -> dict[str, Any]:
    runs = coco_mask.encode(np.asfortranarray(mask))
    return {"size": list(runs["size"]), "counts": runs["counts"].decode()}


def uncompressed(mask: np.ndarray) -> dict[str, Any]:
    flat = mask.ravel(order="F")
    bounds = np.flatnonzero(np.diff(flat)) + 1
    lengths = np.diff(np.concatenate([[0], bounds, [flat.size]])).tolist()
    return {"size": list(mask.shape), "counts": [0, *lengths] if flat[0] else lengths}


def fill_outlines(outlines: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """The pixels within any of some outlines: (H, W) bool."""
    return Region(outline_runs(outlines, size), size).mask()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99, 1.0])
def test_run_lengths_both_ways(share: float) -> None:
    for seed in range(10):
        mask = made_mask(seed, share)
        shapes = Shapes.of([compressed(mask), uncompressed(mask)])
        np.testing.assert_array_equal(shapes.draw(0, SIZE), mask.astype(bool))
        np.testing.assert_array_equal(shapes.draw(1, SIZE), mask.astype(bool))


def test_long_runs_need_several_letters() -> None:
    mask = np.zeros((3000, 3000), dtype=np.uint8)
    mask[2999, 2999] = 1
    runs = decode_runs(np.frombuffer(compressed(mask)["counts"].encode(), dtype=np.uint8))
    assert runs.tolist() == [8999999, 1]


def test_damaged_run_lengths_are_refused() -> None:
    with pytest.raises(DataError, match="damaged"):
        decode_runs(np.frombuffer(b"5:\x7f", dtype=np.uint8))
    with pytest.raises(DataError, match="damaged"):
        decode_runs(np.frombuffer(b"5o", dtype=np.uint8))
    with pytest.raises(DataError, match="add up to 5 pixels, not to 2x3"):
        check_runs(np.array([2, 3]), (2, 3))
    with pytest.raises(DataError, match="a run length of 9223372036854775807 pixels in a mask of 2x3"):
        check_runs(np.array([2**63 - 1, 2**63 - 1, 8]), (2, 3))  # their sum wraps around to 6
    with pytest.raises(DataError, match="a run length of -1 pixels"):
        check_runs(np.array([6, -1, 1]), (2, 3))
    with pytest.raises(DataError, match=r"run lengths for 37x53, but the image is 53x37"):
        Shapes.of([compressed(made_mask(0))]).draw(0, (53, 37))


def test_outlines_are_filled_as_coco_fills_them() -> None:
    draw = np.random.default_rng(0)
    for _ in range(20):
        outlines = [(draw.random(2 * n) * np.tile([53, 37], n)).astype(np.float32) for n in (3, 7)]
        runs = coco_mask.merge(coco_mask.frPyObjects([one.astype(float).tolist() for one in outlines], *SIZE))
        np.testing.assert_array_equal(fill_outlines(outlines, SIZE), coco_mask.decode(runs).astype(bool))
    assert not fill_outlines([], SIZE).any()


def square(left: int, top: int, side: int) -> list[list[int]]:
    right, bottom = left + side, top + side
    return [[left, top, right, top, right, bottom, left, bottom]]


def made_column(multilabel: bool, **options: Any) -> PolygonRLEColumn:
    shapes = Shapes.of([square(2, 2, 4), square(0, 0, 10), compressed(made_mask(3)), square(30, 20, 5)])
    rows, labels = np.array([1, 1, 0, 1]), np.array([2, 1, 1, 0 if multilabel else 2])
    labeled = np.array([True, True, True])
    return PolygonRLEColumn.of(rows, labels, labeled, shapes, 3, multilabel=multilabel, ignore_index=255, **options)


def test_small_regions_lie_on_large_ones() -> None:
    column = made_column(False)
    mask = column.get(1, SIZE).mask
    assert mask.dtype == np.uint8 and mask.shape == SIZE
    assert mask[3, 3] == 2 and mask[1, 1] == 1 and mask[8, 8] == 1 and mask[22, 32] == 2 and mask[15, 15] == 0
    assert np.bincount(mask.ravel()).tolist() == [SIZE[0] * SIZE[1] - 125, 84, 41]
    assert (column.get(2, SIZE).mask == 0).all()
    np.testing.assert_array_equal(column.get(0, SIZE).mask, made_mask(3))
    assert (made_column(False, background=1).get(2, SIZE).mask == 1).all()


def test_overlapping_regions_have_planes() -> None:
    planes = made_column(True).get(1, SIZE).mask
    assert planes.shape == (3, *SIZE)
    assert [int(plane.sum()) for plane in planes] == [25, 100, 16]
    assert planes[1, 3, 3] == planes[2, 3, 3] == 1


def test_taking_rows_keeps_their_shapes() -> None:
    column = made_column(False)
    part = column.take(np.array([2, 1, 0]))
    for new, old in enumerate([2, 1, 0]):
        np.testing.assert_array_equal(part.get(new, SIZE).mask, column.get(old, SIZE).mask)


WRONG = [
    ({"size": [24, 32]}, "'counts' is missing"),
    ({"counts": [1]}, "'size' is missing"),
    ({"size": [24, 2**31], "counts": [1]}, "a size of 24x2147483648"),
    ({"size": [0, 32], "counts": [1]}, "a size of 0x32"),
    ({"size": [float("nan"), 32], "counts": [1]}, "NaN"),
    ({"size": [24], "counts": [1]}, "not enough values"),
    ({"size": [24, 32], "counts": [2**63, 1]}, "no whole numbers"),
    ({"size": [24, 32], "counts": [10**30]}, "no whole numbers|far too large"),
    ({"size": [24, 32], "counts": [0.5]}, "no whole numbers"),
    ({"size": [24, 32], "counts": [float("-inf"), 3]}, "no whole numbers"),
    ({"size": [24, 32], "counts": [-3, 771]}, "negative"),
    ({"size": [24, 32], "counts": [[1]]}, "no whole numbers"),
    ({"size": [24, 32], "counts": "\u00e9"}, "ascii"),
    ([[0, 0, float("nan"), 0, 5, 5]], "finite"),
    ([[0, 0, 1e39, 0, 5, 5]], "finite"),
    ([[0, 0, 10**400, 0, 5, 5]], "large"),
    ([[0, 0, "x", 0, 5, 5]], "x"),
    ([[[0, 0, 1], [5, 5, 1], [0, 5, 1]] * 2], "no list"),
    (7, "not iterable"),
]


@pytest.mark.parametrize(("entry", "message"), WRONG, ids=range(len(WRONG)))
def test_entries_that_are_no_masks_are_refused(entry: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Shapes.of([entry])


def test_far_outlines_are_cut_to_the_image() -> None:
    """A coordinate of 1e9 costs nothing, and within the image nothing changes."""
    began = time.process_time()
    far = np.array([-1e9, 10, 1e9, 10, 1e9, 20, -1e9, 20], dtype=np.float32)
    mask = fill_outlines([far], SIZE)
    assert mask[10:20].all() and not mask[:10].any() and not mask[20:].any()
    assert not fill_outlines([np.array([1e9, 1e9, 2e9, 1e9, 2e9, 2e9], dtype=np.float32)], SIZE).any()
    assert fill_outlines([np.array([-1e20, -1e20, 1e20, -1e20, 1e20, 1e20, -1e20, 1e20])], SIZE).all()
    assert time.process_time() - began < 1


def test_cutting_changes_nothing_within_the_image() -> None:
    draw = np.random.default_rng(1)
    for _ in range(40):
        outline = ((draw.random((5, 2)) - 0.5) * [53 * 16, 37 * 16] + [26, 18]).reshape(-1).round(1)
        runs = coco_mask.merge(coco_mask.frPyObjects([outline.tolist()], *SIZE))
        different = fill_outlines([outline], SIZE) != coco_mask.decode(runs).astype(bool)
        assert different.sum() <= 12  # along an edge whose ends were cut, a pixel may fall to the other side
    near = draw.random(20) * np.tile([53, 37], 10) * 2 - 20
    np.testing.assert_array_equal(clip_outline(near, SIZE), near)


def test_an_outline_that_goes_to_and_fro_is_refused() -> None:
    points = np.tile([0.0, 0.0, 1000.0, 900.0], 1500)
    with pytest.raises(DataError, match="an outline is 3000000 pixels long, at most 2000000 are drawn"):
        fill_outlines([points], (900, 1000))


def test_masks_that_no_memory_holds_are_refused() -> None:
    shapes = Shapes.of([square(2, 2, 4)])
    row = np.array([0])
    column = PolygonRLEColumn.of(row, row, row == 0, shapes, 100_000, multilabel=True, ignore_index=255)
    with pytest.raises(DataError, match="100000 classes that may overlap need a mask each of 480x640 pixels"):
        column.get(0, (480, 640))
