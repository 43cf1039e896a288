"""Objects of tiles are merged into objects of the image: hand-made cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.errors import ConfigError
from vertebra.preprocess.tiles import Tile, grid
from vertebra.tasks.box_iou import connected_components, greedy_nms, iou
from vertebra.tasks.tile_merge import MergedObjects, TileObjects, merge_tiles

IMAGE = (100, 180)
LEFT, RIGHT = Tile(0, 0, 100, 100, IMAGE), Tile(0, 80, 100, 100, IMAGE)  # both cover x = 80 to 100
WHOLE = Tile(0, 0, *IMAGE, IMAGE)
TILES = [LEFT, RIGHT, WHOLE]


def merged(*objects: tuple[int, list[float], float] | tuple[int, list[float], float, int]) -> MergedObjects:
    """Objects given as (tile, box, score, class)."""
    rows = [(*item, 0)[:4] for item in objects]
    return merge_tiles(
        TileObjects(
            np.array([row[1] for row in rows], dtype=np.float32).reshape(-1, 4),
            np.array([row[2] for row in rows], dtype=np.float32),
            np.array([row[3] for row in rows], dtype=np.int64),
            np.array([row[0] for row in rows], dtype=np.int64),
        ),
        TILES,
    )


def test_nothing() -> None:
    assert len(merged().boxes) == 0


def test_an_object_whole_in_two_tiles_is_kept_once() -> None:
    got = merged((0, [84, 10, 96, 30], 0.8), (1, [84, 11, 96, 30], 0.9), (1, [84, 50, 96, 70], 0.5))
    assert got.boxes.tolist() == [[84, 11, 96, 30], [84, 50, 96, 70]]
    assert got.members.tolist() == [1, 2] and got.groups.tolist() == [0, 1]


def test_two_halves_become_one_box() -> None:
    got = merged((0, [50, 10, 100, 40], 0.6), (1, [80, 11, 150, 41], 0.7))
    assert got.boxes.tolist() == [[50, 10, 150, 41]]
    assert got.scores == pytest.approx([0.7]) and got.members.tolist() == [0, 1]


def test_halves_of_different_objects_stay_apart() -> None:
    other_height = merged((0, [50, 10, 100, 30], 0.6), (1, [80, 40, 150, 60], 0.7))
    other_class = merged((0, [50, 10, 100, 40], 0.6, 0), (1, [80, 10, 150, 40], 0.7, 1))
    assert len(other_height.boxes) == len(other_class.boxes) == 2


def test_a_fragment_of_an_object_that_another_tile_contains_is_dropped() -> None:
    got = merged((0, [40, 10, 92, 40], 0.6), (1, [80, 10, 92, 40], 0.99))
    assert got.boxes.tolist() == [[40, 10, 92, 40]]
    sliver = merged((0, [40, 10, 82, 40], 0.6), (1, [80, 9, 86, 42], 0.99))
    assert sliver.boxes.tolist() == [[40, 10, 82, 40]]


def test_a_small_object_before_a_large_one_stays() -> None:
    """The small one is whole in both tiles; boxes that only cover each other are not merged."""
    got = merged(
        (0, [20, 0, 100, 100], 0.9), (1, [80, 0, 170, 100], 0.8), (0, [84, 40, 96, 60], 0.7), (1, [84, 40, 96, 60], 0.6)
    )  # fmt: skip
    assert got.boxes.tolist() == [[20, 0, 170, 100], [84, 40, 96, 60]]


def test_a_cut_object_without_a_match_stays() -> None:
    assert merged((1, [80, 10, 92, 40], 0.5)).boxes.tolist() == [[80, 10, 92, 40]]


def test_the_whole_image_counts_only_for_objects_that_no_tile_contains() -> None:
    assert len(merged((2, [10, 10, 40, 40], 0.9)).boxes) == 0, "the first tile covers the box and has no object there"
    assert merged((2, [10, 10, 170, 40], 0.9)).boxes.tolist() == [[10, 10, 170, 40]]


def test_merged_pieces_are_finer_than_the_whole_image() -> None:
    got = merged((0, [50, 10, 100, 40], 0.6), (1, [80, 10, 150, 40], 0.7), (2, [47, 8, 152, 43], 0.95))
    assert got.boxes.tolist() == [[50, 10, 150, 40]]


def test_cut_objects_that_do_not_match_are_dropped_for_the_whole_image() -> None:
    got = merged((0, [40, 0, 100, 100], 0.9), (2, [30, 0, 175, 100], 0.5))
    assert got.boxes.tolist() == [[30, 0, 175, 100]], "the right tile missed its piece"


def test_an_object_over_many_tiles_is_one() -> None:
    made = grid((100, 260), 100, 0.2)
    tiles = list(made)
    assert [tile.left for tile in tiles] == [0, 80, 160]
    boxes = np.array([[30, 20, 100, 60], [80, 20, 180, 60], [160, 20, 240, 60]], dtype=np.float32)
    got = merge_tiles(TileObjects(boxes, np.ones(3, np.float32), np.zeros(3, np.int64), np.arange(3)), tiles)
    assert got.boxes.tolist() == [[30, 20, 240, 60]]


def test_best_first() -> None:
    got = merged((0, [1, 1, 9, 9], 0.2), (1, [120, 1, 130, 9], 0.9), (0, [30, 1, 39, 9], 0.5))
    assert got.scores == pytest.approx([0.9, 0.5, 0.2]) and got.members.tolist() == [1, 2, 0]


@pytest.mark.parametrize(
    ("length", "starts"), [(50, (0,)), (100, (0,)), (101, (0, 1)), (180, (0, 80)), (181, (0, 40, 81))]
)
def test_tiles_cover_the_image_exactly(length: int, starts: tuple[int, ...]) -> None:
    assert grid((100, length), 100, 0.2).lefts == starts


def test_every_grid_covers_and_overlaps() -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        side, overlap, height, width = int(draw.integers(8, 90)), draw.uniform(0.01, 0.8), *draw.integers(1, 400, 2)
        made = grid((int(height), int(width)), side, overlap)
        covered = np.zeros((height, width), dtype=int)
        for tile in made:
            tile.of(covered)[:] += 1
        assert covered.min() >= 1 and len(made) == len(list(made))
        for starts, side_px, length in ((made.tops, made.tile[0], height), (made.lefts, made.tile[1], width)):
            steps = np.diff(starts)
            assert starts[-1] + side_px == length and (not len(steps) or steps.max() - steps.min() <= 1)
            assert (side_px - steps >= overlap * side).all()


@pytest.mark.parametrize(("tile", "overlap"), [(4, 0.2), (64.0, 0.2), (64, 0.0), (64, 0.9), (64, -1), (True, 0.2)])
def test_what_makes_no_grid(tile: int, overlap: float) -> None:
    with pytest.raises(ConfigError, match="'tile'|'overlap'"):
        grid((100, 100), tile, overlap)


def test_suppression_is_the_greedy_one() -> None:
    draw = np.random.default_rng(0)
    low = draw.uniform(0, 80, (120, 2))
    boxes = np.concatenate([low, low + draw.uniform(5, 40, (120, 2))], axis=1)
    order = draw.permutation(120)
    matrix = iou(boxes[:, None], boxes[None]) > 0.3
    slow = np.zeros(120, dtype=bool)
    for index in np.argsort(order):
        slow[index] = not (matrix[index] & slow).any()
    np.testing.assert_array_equal(greedy_nms(order, np.argwhere(np.triu(matrix, 1))), slow)


def test_connected_components() -> None:
    assert connected_components(7, np.array([[5, 2], [2, 6], [4, 3]])).tolist() == [0, 1, 2, 3, 3, 2, 2]
    assert connected_components(3, np.zeros((0, 2), dtype=int)).tolist() == [0, 1, 2]
    chain = np.stack([np.arange(99), np.arange(1, 100)], axis=1)
    assert (connected_components(100, chain[::-1]) == 0).all()
