"""Ellipses, turned boxes, and masks of parts of an image."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vertebra.annotations.drawing import VERTICES, box_outline, drawn_patch, ellipse_outline, patch_runs
from vertebra.annotations.run_lengths import Region
from vertebra.errors import DataError


def area(outline: np.ndarray) -> float:
    points = outline.reshape(-1, 2)
    following = np.roll(points, -1, axis=0)
    return float(abs((points[:, 0] * following[:, 1] - following[:, 0] * points[:, 1]).sum()) / 2)


@given(st.floats(0.5, 1000), st.floats(0.5, 1000), st.floats(-7, 7))
def test_an_ellipse_has_its_area_and_its_axes(across: float, down: float, angle: float) -> None:
    outline = ellipse_outline((30, -20), (across, down), angle)
    assert len(outline) == 2 * VERTICES
    assert area(outline) == pytest.approx(np.pi * across * down, rel=0.001)
    distances = np.hypot(*(outline.reshape(-1, 2) - (30, -20)).T)
    assert distances.max() == pytest.approx(max(across, down)) and distances.min() == pytest.approx(min(across, down))


def test_an_ellipse_that_is_not_turned_touches_its_box() -> None:
    points = ellipse_outline((10, 20), (5, 3)).reshape(-1, 2)
    np.testing.assert_allclose([*points.min(axis=0), *points.max(axis=0)], [5, 17, 15, 23], atol=1e-12)


def test_turns_are_clockwise_on_the_screen() -> None:
    quarter = np.pi / 2
    np.testing.assert_allclose(
        box_outline((10, 20, 14, 22), quarter, (10, 20)), [10, 20, 10, 24, 8, 24, 8, 20], atol=1e-9
    )
    first = ellipse_outline((0, 0), (4, 1), quarter)[:2]
    np.testing.assert_allclose(first, [0, 4], atol=1e-9)


@given(st.integers(0, 2**32 - 1))
def test_parts_of_an_image_are_cut_and_united(seed: int) -> None:
    rng = np.random.default_rng(seed)
    height, width = rng.integers(1, 9, 2).tolist()
    canvas = np.zeros((height + 40, width + 40), dtype=bool)
    patches = []
    for _ in range(int(rng.integers(1, 4))):
        mask = rng.random(rng.integers(1, 9, 2)) < 0.6
        left, top = rng.integers(-9, 12, 2).tolist()
        canvas[top + 20 : top + 20 + mask.shape[0], left + 20 : left + 20 + mask.shape[1]] |= mask
        patches.append((mask, left, top))
    runs = patch_runs(patches, (height, width))
    assert runs.size == (height, width) and runs.runs.min() >= 0
    assert np.array_equal(Region(runs.runs, (height, width)).mask(), canvas[20 : 20 + height, 20 : 20 + width])


def test_a_huge_mask_is_refused() -> None:
    patch = (np.ones((1, 1), dtype=bool), 0, 0)
    for draw in (lambda size: patch_runs([patch], size), lambda size: drawn_patch([np.zeros(6)], size)):
        with pytest.raises(DataError, match=r"a mask for an image of 900000x900000 pixels; at most 178956970 are read"):
            draw((900_000, 900_000))
