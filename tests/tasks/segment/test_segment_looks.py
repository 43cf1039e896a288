"""Several looks at the pixels of an image: hand-made maps with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.errors import ConfigError
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.preprocess.view_transform import ViewTransform
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.tta import SegmentTTA

SPEC = SegmentLabels(("a", "b"))
PLAN = ResizeSpec((4, 6))
PLACE = PLAN.place(4, 3)  # the three columns at the left; fill beside them


def maps(row: list[float], height: int = 4) -> list[np.ndarray]:
    """Two maps that sum to one, of equal rows."""
    first = np.tile(np.array(row, dtype=np.float32), (height, 1))
    return [np.stack([first, 1 - first])]


def test_a_mirrored_look_is_turned_back_within_the_image() -> None:
    merger = SegmentTTA(SPEC, whole=False)
    merger.add(maps([1, 0.5, 0, 9, 9, 9]), ViewTransform(PLACE, PLACE, mirrored=False))
    merger.add(maps([0.5, 0.5, 0.5, 9, 9, 9]), ViewTransform(PLACE, PLACE, mirrored=True))
    merger.add(maps([0.25, 0.5, 1, 9, 9, 9]), ViewTransform(PLACE, PLACE, mirrored=True))
    (found,) = merger.finish()
    assert found.shape == (2, 4, 3) and found.dtype == np.float32
    np.testing.assert_allclose(found[0], [np.array([2.5, 1.5, 0.75]) / 3] * 4, rtol=1e-6)
    np.testing.assert_allclose(found.sum(axis=0), 1, rtol=1e-6)


def test_a_larger_look_is_made_small() -> None:
    """Twice as large: antialiased, a pixel takes from four columns, 1/8 3/8 3/8 1/8, and at the rim from three of them."""
    own = PLAN.scaled(2).place(4, 3)
    assert own.size == (8, 6)
    merger = SegmentTTA(SPEC, whole=False)
    merger.add(maps([1, 1, 1, 1, 0, 0, *[9] * 6], height=8), ViewTransform(PLACE, own, mirrored=False))
    (found,) = merger.finish()
    np.testing.assert_allclose(found[0], [[1, 7 / 8, 1 / 7]] * 4, atol=1e-6)


def test_what_is_added_stays_as_it_is() -> None:
    given = maps([1, 0.5, 0, 0, 0, 0])
    before = given[0].copy()
    merger = SegmentTTA(SPEC, whole=False)
    for mirrored in (False, True):
        merger.add(given, ViewTransform(PLACE, PLACE, mirrored))
    merger.finish()
    np.testing.assert_array_equal(given[0], before)


def test_a_center_crop_has_no_answer_for_the_rim() -> None:
    place = ResizeSpec((4, 4), "center_crop").place(4, 8)
    with pytest.raises(ConfigError, match="whole image on the canvas"):
        SegmentTTA(SPEC, whole=False).add(maps([1, 1, 1, 1]), ViewTransform(place, place, mirrored=True))
