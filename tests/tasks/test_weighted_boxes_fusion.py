"""Objects of several views become one list: hand-made cases with known answers."""

from __future__ import annotations

import numpy as np
import pytest

from vertebra.tasks.weighted_boxes_fusion import MERGE_IOU, WeightedBoxesFusion, greedy_match

Detection = tuple[list[float], float, int]


def fused(*views: list[Detection]) -> tuple[list[list[float]], list[float], list[int]]:
    """Boxes, scores and classes of views of one image, each a list of (box, score, class); best first."""
    fusion = WeightedBoxesFusion()
    for detections in views:
        fusion.add(
            np.array([box for box, _, _ in detections], dtype=np.float32).reshape(-1, 4),
            np.array([score for _, score, _ in detections], dtype=np.float32),
            np.array([label for _, _, label in detections], dtype=np.int64),
        )
    best = fusion.top(len(fusion))
    return (
        fusion.boxes[best].round(4).tolist(),
        fusion.scores[best].round(4).tolist(),
        fusion.labels[best].tolist(),
    )


def test_two_equal_views() -> None:
    """The box is the mean weighted by the scores: (3 * 10 + 1 * 14) / 4 = 11."""
    merged = fused([([10, 10, 50, 50], 0.75, 1)], [([14, 10, 50, 50], 0.25, 1)])
    assert merged == ([[11, 10, 50, 50]], [0.5], [1])


def test_an_object_of_one_of_two_views_has_half_its_score() -> None:
    merged = fused([([0, 0, 10, 10], 0.8, 0)], [])
    assert merged == ([[0, 0, 10, 10]], [0.4], [0])
    assert fused([], [([0, 0, 10, 10], 0.8, 0)]) == merged
    thirds = fused([], [([0, 0, 10, 10], 0.9, 0)], [([0, 0, 10, 10], 0.6, 0)])
    assert thirds == ([[0, 0, 10, 10]], [0.5], [0])
    assert fused([], []) == ([], [], [])


def test_classes_stay_apart() -> None:
    boxes, scores, labels = fused([([0, 0, 10, 10], 0.8, 0)], [([0, 0, 10, 10], 0.6, 1)])
    assert (len(boxes), scores, labels) == (2, [0.4, 0.3], [0, 1])


@pytest.mark.parametrize(("width", "objects"), [(100 * 0.549, 2), (100 * 0.551, 1)])
def test_neighbors_stay_apart(width: float, objects: int) -> None:
    """A box and its left part: their intersection over union is the part's share."""
    assert len(fused([([0, 0, 100, 100], 0.8, 0)], [([0, 0, width, 100], 0.8, 0)])[0]) == objects
    assert MERGE_IOU == 0.55


def test_two_boxes_of_one_view_stay_two() -> None:
    """Two boxes that overlap by 0.67: equal views change nothing."""
    view: list[Detection] = [([0, 0, 100, 10], 0.9, 0), ([20, 0, 120, 10], 0.8, 0)]
    assert fused(view, view, view) == ([box for box, _, _ in view], [0.9, 0.8], [0, 0])
    assert fused(view, view[::-1]) == fused(view, view)


def test_the_nearest_is_paired_and_not_the_best() -> None:
    """The second view's box is nearer to the worse of two; only one view has the better one."""
    boxes, scores, _ = fused(
        [([0, 0, 100, 10], 0.9, 0), ([20, 0, 120, 10], 0.4, 0)],
        [([20, 0, 120, 10], 0.8, 0)],
    )
    assert (boxes, scores) == ([[20, 0, 120, 10], [0, 0, 100, 10]], [0.6, 0.45])


def test_a_box_of_score_0_keeps_its_coordinates() -> None:
    boxes, scores, _ = fused([([5, 5, 10, 10], 0.0, 0)], [([5, 5, 10, 10], 0.0, 0)])
    assert (boxes, scores) == ([[5, 5, 10, 10]], [0])


def test_pairs_are_those_of_a_plain_loop() -> None:
    draw = np.random.default_rng(0)
    for _ in range(100):
        rows, columns = draw.integers(1, 9, 2)
        values = draw.permutation(rows * columns).reshape(rows, columns) / (rows * columns)
        expected = np.full(columns, -1)
        left = values.copy()
        while left.max() >= 0.3:
            row, column = np.unravel_index(left.argmax(), left.shape)
            expected[column] = row
            left[row], left[:, column] = -1, -1
        np.testing.assert_array_equal(greedy_match(values, 0.3), expected)


def test_pairs_where_many_values_are_equal() -> None:
    assert greedy_match(np.ones((3, 2)), 1.0).tolist() == [0, 1]
    assert greedy_match(np.ones((2, 3)), 1.0).tolist() == [0, 1, -1]
    assert greedy_match(np.zeros((0, 2)), 0.5).tolist() == [-1, -1]
    assert greedy_match(np.zeros((2, 0)), 0.5).tolist() == []
