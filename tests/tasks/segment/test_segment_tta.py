"""Merging the masks of several views of an image: hand-made maps with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.tta import SegmentTTA

SPEC = SegmentLabels(("a", "b"))
RESIZE_SPEC = ResizeSpec((4, 6))
TRANSFORM = RESIZE_SPEC.transform(4, 3)  # the three columns at the left; fill beside them


def maps(row: list[float], height: int = 4) -> list[np.ndarray]:
    """Two maps that sum to one, of equal rows."""
    first = np.tile(np.array(row, dtype=np.float32), (height, 1))
    return [np.stack([first, 1 - first])]


def test_a_mirrored_view_is_mirrored_back_within_the_image() -> None:
    merger = SegmentTTA(SPEC, whole=False)
    merger.add(maps([1, 0.5, 0, 9, 9, 9]), ViewTransform(TRANSFORM, TRANSFORM, mirrored=False))
    merger.add(maps([0.5, 0.5, 0.5, 9, 9, 9]), ViewTransform(TRANSFORM, TRANSFORM, mirrored=True))
    merger.add(maps([0.25, 0.5, 1, 9, 9, 9]), ViewTransform(TRANSFORM, TRANSFORM, mirrored=True))
    (merged,) = merger.finish()
    assert merged.shape == (2, 4, 3) and merged.dtype == np.float32
    np.testing.assert_allclose(merged[0], [np.array([2.5, 1.5, 0.75]) / 3] * 4, rtol=1e-6)
    np.testing.assert_allclose(merged.sum(axis=0), 1, rtol=1e-6)


def test_a_larger_view_is_downscaled() -> None:
    """Twice as large: antialiased, a pixel takes from four columns, 1/8 3/8 3/8 1/8, and at the rim from three of them."""
    larger = RESIZE_SPEC.scaled(2).transform(4, 3)
    assert larger.size == (8, 6)
    merger = SegmentTTA(SPEC, whole=False)
    merger.add(maps([1, 1, 1, 1, 0, 0, *[9] * 6], height=8), ViewTransform(TRANSFORM, larger, mirrored=False))
    (merged,) = merger.finish()
    np.testing.assert_allclose(merged[0], [[1, 7 / 8, 1 / 7]] * 4, atol=1e-6)


def test_added_arrays_are_not_changed() -> None:
    decoded = maps([1, 0.5, 0, 0, 0, 0])
    before = decoded[0].copy()
    merger = SegmentTTA(SPEC, whole=False)
    for mirrored in (False, True):
        merger.add(decoded, ViewTransform(TRANSFORM, TRANSFORM, mirrored))
    merger.finish()
    np.testing.assert_array_equal(decoded[0], before)


def test_a_center_crop_is_refused() -> None:
    transform = ResizeSpec((4, 4), "center_crop").transform(4, 8)
    with pytest.raises(ConfigError, match="whole image on the canvas"):
        SegmentTTA(SPEC, whole=False).add(maps([1, 1, 1, 1]), ViewTransform(transform, transform, mirrored=True))
