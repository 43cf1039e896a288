"""Which convention boxes follow."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vertebra.data.analysis.box_conventions import CONVENTIONS, box_convention, convention_mismatch


def fake_boxes(count: int, seed: int, convention: str) -> tuple[np.ndarray, np.ndarray]:
    """Boxes inside their images, written by a convention, with height and width of the images."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(100, 2000, (count, 2))
    limits = sizes[:, ::-1] if convention.startswith("pixel") else np.ones((count, 2))
    extent = rng.uniform(0.02, 0.9, (count, 2))
    first = rng.uniform(0, 1 - extent) * limits
    second = first + extent * limits
    numbers = {
        "xyxy": (first, second),
        "xywh": (first, second - first),
        "cxcywh": ((first + second) / 2, second - first),
    }[convention.split()[1]]
    return np.concatenate(numbers, axis=1), sizes


@settings(max_examples=100)
@given(st.sampled_from(CONVENTIONS), st.integers(40, 200), st.integers(0, 2**32))
def test_boxes_are_recognized(convention: str, count: int, seed: int) -> None:
    boxes, sizes = fake_boxes(count, seed, convention)
    reading = box_convention(boxes, sizes)
    assert reading.verdict == convention and reading.consistent == (convention,)
    assert reading.fits[convention] == 1 and reading.confidence > 0.99
    assert str(reading) == f"{convention} (fits 100.0% of the boxes)"


@settings(max_examples=50)
@given(st.sampled_from(CONVENTIONS), st.integers(0, 2**32))
def test_some_wrong_boxes_do_not_matter(convention: str, seed: int) -> None:
    boxes, sizes = fake_boxes(100, seed, convention)
    boxes[:3] = -1
    boxes[3] = np.nan
    reading = box_convention(boxes, sizes)
    assert reading.verdict == convention and reading.fits[convention] == pytest.approx(96 / 99)


def test_a_wrong_reading_is_told() -> None:
    boxes, sizes = fake_boxes(200, 0, "pixel xywh")
    message = convention_mismatch(boxes, sizes, "pixel xyxy")
    assert message is not None and message.startswith(
        "seems to be pixel xywh (fits 100.0% of the boxes), but is read as pixel xyxy, which puts "
    )
    assert convention_mismatch(boxes, sizes, "pixel xywh") is None
    with pytest.raises(ValueError, match="'xyxy' is no box convention; there are: pixel xyxy"):
        convention_mismatch(boxes, sizes, "xyxy")


def test_what_is_open_stays_open() -> None:
    boxes = np.array([[10, 10, 30, 30], [5, 8, 40, 50]])
    reading = box_convention(boxes, np.full((2, 2), 200))
    assert reading.verdict is None and set(reading.consistent) == {"pixel xyxy", "pixel xywh"}
    assert reading.confidence == pytest.approx(0.5, abs=0.01)
    assert str(reading) == "pixel xyxy or pixel xywh"
    assert convention_mismatch(boxes, np.full((2, 2), 200), "pixel xywh") is None


def test_what_fits_nothing() -> None:
    reading = box_convention(np.array([[900.0, 900, 950, 950]] * 9 + [[1, 1, 5, 5]]), np.full((10, 2), 100))
    assert reading.verdict is None and reading.consistent == ()
    assert str(reading) == "no convention fits; pixel xyxy fits 10.0% of the boxes"
    assert str(box_convention(np.full((3, 4), -5.0), np.full((3, 2), 100))) == "no convention fits"
    for none in (np.zeros((0, 4)), np.full((2, 4), np.inf)):
        reading = box_convention(none, np.full((len(none), 2), 100))
        assert reading.verdict is None and reading.confidence == 0 and set(reading.fits.values()) == {0}


def test_normalized_boxes_are_not_in_the_first_pixel() -> None:
    boxes, sizes = fake_boxes(30, 0, "normalized xyxy")
    assert box_convention(boxes, sizes).fits["pixel xyxy"] == 0
    whole = np.tile([0.0, 0.0, 1.0, 1.0], (30, 1))
    assert set(box_convention(whole, sizes).consistent) == {"normalized xyxy", "normalized xywh"}


def test_real_boxes(assets: Path) -> None:
    from vertebra.data.open import open_data

    root = assets / "detection" / "bccd"
    files = sorted((assets / "detection" / "coco_mini_yolo" / "labels").glob("*/*.txt"))
    if not root.is_dir() or not files:
        pytest.skip("no boxes")
    index = open_data(root, "detect", "train")
    boxes = np.concatenate([index.columns["detect"].get(row, (480, 640)).boxes for row in range(len(index))])
    sizes = np.tile([480, 640], (len(boxes), 1))
    assert box_convention(boxes, sizes).verdict == "pixel xyxy"
    widths = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    assert box_convention(widths, sizes).verdict == "pixel xywh"
    rows = np.concatenate([np.loadtxt(file, ndmin=2) for file in files if file.stat().st_size])
    assert box_convention(rows[:, 1:], np.full((len(rows), 2), 640)).verdict == "normalized cxcywh"
