"""Outlines of masks along the borders of their pixels."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from vertebra.annotations.outlines import outline_runs
from vertebra.annotations.run_lengths import Region
from vertebra.annotations.tracing import as_one_outline, mask_outlines


def area(outline: np.ndarray) -> float:
    """Positive for clockwise on the screen."""
    x, y = outline.reshape(-1, 2).T
    return float((x * np.roll(y, -1) - np.roll(x, -1) * y).sum() / 2)


def test_a_part_with_a_hole() -> None:
    mask = np.zeros((6, 7), dtype=bool)
    mask[1:5, 2:6] = True
    mask[2:4, 3:5] = False
    outer, hole = mask_outlines(mask)
    assert outer.reshape(-1, 2).tolist() == [[2, 1], [6, 1], [6, 5], [2, 5]]
    assert area(outer) == 16 and area(hole) == -4


def test_pixels_that_touch_at_a_corner_are_two_parts() -> None:
    outlines = mask_outlines(np.eye(2, dtype=bool))
    assert [area(outline) for outline in outlines] == [1, 1]


def test_nothing_has_no_outline() -> None:
    assert mask_outlines(np.zeros((3, 4), dtype=bool)) == []


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**32 - 1), st.floats(0.05, 1))
def test_filled_outlines_are_the_mask_again(height: int, width: int, seed: int, share: float) -> None:
    mask = np.random.default_rng(seed).random((height, width)) < share
    outlines = mask_outlines(mask)
    assert sum(map(area, outlines)) == mask.sum()
    if len(outlines):
        size = (height, width)
        assert (Region(outline_runs([as_one_outline(outlines)], size), size).mask() == mask).all()
