"""Connected regions equal those of a search, and regions without thin parts those of windows."""

from __future__ import annotations

import numpy as np

from vertebra.annotations.connected_components import connected_components, opened


def searched(codes: np.ndarray) -> np.ndarray:
    """The regions by a search from each pixel."""
    numbers, count = np.full(codes.shape, -1), 0
    for start in np.ndindex(*codes.shape):
        if codes[start] < 0 or numbers[start] >= 0:
            continue
        waiting = [start]
        while waiting:
            row, column = waiting.pop()
            if numbers[row, column] >= 0:
                continue
            numbers[row, column] = count
            for near in ((row + 1, column), (row - 1, column), (row, column + 1), (row, column - 1)):
                inside = 0 <= near[0] < codes.shape[0] and 0 <= near[1] < codes.shape[1]
                if inside and codes[near] == codes[row, column]:
                    waiting.append(near)
        count += 1
    return numbers


def test_regions_are_those_of_a_search() -> None:
    draw = np.random.default_rng(0)
    for _ in range(60):
        codes = draw.integers(-1, draw.integers(1, 4), draw.integers(1, 14, 2))
        np.testing.assert_array_equal(connected_components(codes), searched(codes))
    assert connected_components(np.zeros((0, 4), dtype=np.int64)).shape == (0, 4)


def test_a_spiral_is_one_region() -> None:
    rows = ["#######", "......#", "#####.#", "#...#.#", "#.###.#", "#.....#", "#######"]
    codes = np.array([[0 if letter == "#" else -1 for letter in row] for row in rows])
    assert connected_components(codes).max() == 0


def test_thin_parts_are_left_out() -> None:
    draw = np.random.default_rng(1)
    for _ in range(40):
        codes = np.repeat(np.repeat(draw.integers(-1, 3, (4, 5)), 3, axis=0), 3, axis=1)
        codes[tuple(draw.integers(0, codes.shape))] = 7
        radius = int(draw.integers(1, 4))
        side = 2 * radius + 1
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(codes, radius, mode="edge"), (side, side))
        inside = np.pad((windows == codes[..., None, None]).all(axis=(2, 3)), radius)
        expected = np.lib.stride_tricks.sliding_window_view(inside, (side, side)).any(axis=(2, 3))
        np.testing.assert_array_equal(opened(codes, radius), expected)
