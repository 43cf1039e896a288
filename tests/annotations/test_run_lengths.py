"""Masks as run lengths: moved, joined, cut and written without being drawn."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from vertebra.annotations.run_lengths import Region, compress, decode_runs, patch_edges, union


def masks(count: int, seed: int, size: tuple[int, int]) -> list[np.ndarray]:
    """Random masks: sparse, dense, empty, full, and blocks."""
    draw = np.random.default_rng(seed)
    drawn = [draw.random(size) < draw.choice([0.0, 0.1, 0.5, 0.95, 1.0]) for _ in range(count)]
    block = np.zeros(size, dtype=bool)
    top, left = draw.integers(0, size[0]), draw.integers(0, size[1])
    block[top : top + draw.integers(1, 9), left : left + draw.integers(1, 9)] = True
    return [*drawn[1:], block]


SIZES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@given(st.integers(0, 10**6), SIZES, st.integers(-10, 10), st.integers(-10, 10), SIZES)
def test_a_region_moves_as_its_mask(
    seed: int, size: tuple[int, int], left: int, top: int, target: tuple[int, int]
) -> None:
    (mask,) = masks(1, seed, size)
    expected = np.zeros((40, 40), dtype=bool)
    expected[15 + top : 15 + top + size[0], 15 + left : 15 + left + size[1]] = mask
    moved = Region.of(mask).shifted(left, top, target)
    assert moved.size == target
    np.testing.assert_array_equal(moved.mask(), expected[15 : 15 + target[0], 15 : 15 + target[1]])


@given(st.integers(0, 10**6), SIZES)
def test_union_patch_and_spans(seed: int, size: tuple[int, int]) -> None:
    drawn = masks(3, seed, size)
    regions = [Region.of(mask) for mask in drawn]
    np.testing.assert_array_equal(union(regions, size).mask(), np.any(drawn, axis=0))
    for mask, region in zip(drawn, regions, strict=True):
        np.testing.assert_array_equal(Region.of_spans(*region.spans(), size).mask(), mask)
        np.testing.assert_array_equal(Region.of_edges(region.edges, size).mask(), mask)
        part, left, top = region.patch()
        assert part.any() == mask.any() and (not part.size or (part.any(axis=0)[[0, -1]]).all())
        np.testing.assert_array_equal(Region.of_patch((part, left, top), size).mask(), mask)
        assert int(region.runs.sum()) == mask.size
    assert not union([], size).area


@given(st.integers(0, 10**6), SIZES)
def test_compressed_runs_are_those_of_pycocotools(seed: int, size: tuple[int, int]) -> None:
    (mask,) = masks(1, seed, size)
    coded = Region.of(mask).to_coco()
    assert coded["counts"] == coco_mask.encode(np.asfortranarray(mask.astype(np.uint8)))["counts"].decode()
    np.testing.assert_array_equal(coco_mask.decode(coded), mask)
    np.testing.assert_array_equal(
        decode_runs(np.frombuffer(coded["counts"].encode(), dtype=np.uint8)), Region.of(mask).runs
    )


def test_large_counts_are_compressed() -> None:
    counts = np.array([0, 1, 2**40, 5, 3, 2**41, 7])
    np.testing.assert_array_equal(decode_runs(np.frombuffer(compress(counts).encode(), dtype=np.uint8)), counts)


@pytest.mark.parametrize(
    ("box", "pixels"),
    [((1.0, 0.0, 3.0, 2.0), 4), ((0.6, 0.0, 1.4, 1.0), 0), ((-9.0, -9.0, 99.0, 99.0), 20), ((3.0, 3.0, 1.0, 1.0), 0)],
)
def test_the_pixels_of_a_box(box: tuple[float, ...], pixels: int) -> None:
    assert Region.of_box(np.array(box), (4, 5)).area == pixels


def test_a_patch_of_a_tall_image_has_its_edges() -> None:
    assert patch_edges(np.array([[True], [True]]), 2, 1, 10).tolist() == [21, 23]
