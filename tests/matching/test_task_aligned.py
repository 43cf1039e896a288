"""Locations matched to objects by how well they tell class and box."""

from __future__ import annotations

from typing import Any

import torch

from vertebra.geometry.points import level_points
from vertebra.matching.task_aligned import Alignment, match_by_alignment

# three cells of stride 10 in a row, and an object over the first two
ROW, STRIDES = torch.tensor([[5.0, 5], [15, 5], [25, 5]]), torch.full((3,), 10.0)
OBJECT = torch.tensor([[[0.0, 0, 20, 10]]])
FITS = torch.tensor([[[0.0, 0, 16, 10], [0, 0, 8, 10], [0, 0, 20, 10]]])  # IoU 0.8, 0.4, 1
HALF = torch.full((1, 3, 2), 0.5)


def align(
    scores: torch.Tensor, predicted: torch.Tensor, boxes: torch.Tensor, labels: list[list[int]], **options: Any
) -> Alignment:
    crowd = options.pop("crowd", torch.zeros(boxes.shape[:2], dtype=torch.bool))
    count = options.pop("count", torch.full((len(boxes),), boxes.shape[1]))
    kinds = torch.tensor(labels, dtype=torch.int64).reshape(boxes.shape[:2])
    return match_by_alignment(scores, predicted, ROW, STRIDES, kinds, boxes, crowd, count, **options)


def test_the_example_of_the_docstring() -> None:
    """The third location has the best box of all, but lies outside."""
    found = align(HALF, FITS, OBJECT, [[0]], beta=1.0)
    assert found.match.positive.tolist() == [[True, True, False]]
    torch.testing.assert_close(found.quality, torch.tensor([[0.8, 0.4, 0.0]]))


def test_powers_of_score_and_overlap() -> None:
    """The t are 0.2 * 0.8^2 = 0.128 and 0.9 * 0.4^2 = 0.144, so that the second is asked for the best overlap."""
    scores = torch.tensor([[[0.2, 0.0], [0.9, 0.0], [0.0, 0.0]]])
    found = align(scores, FITS, OBJECT, [[0]], beta=2.0)
    torch.testing.assert_close(found.quality, torch.tensor([[0.128 / 0.144 * 0.8, 0.8, 0.0]]))
    of_overlap = align(scores, FITS, OBJECT, [[0]], alpha=0.0, beta=2.0)
    torch.testing.assert_close(of_overlap.quality, torch.tensor([[0.8, 0.2, 0.0]]))


def test_only_the_best_ones_answer() -> None:
    found = align(HALF, FITS, OBJECT, [[0]], max_locations=1)
    assert found.match.positive.tolist() == [[True, False, False]]
    torch.testing.assert_close(found.quality, torch.tensor([[0.8, 0.0, 0.0]]))


def test_the_score_is_that_of_the_objects_class() -> None:
    scores = torch.tensor([[[0.1, 0.9], [0.9, 0.1], [0.5, 0.5]]])
    same = FITS[:, :1].expand(1, 3, 4)
    assert align(scores, same, OBJECT, [[0]], max_locations=1).match.positive.tolist() == [[False, True, False]]
    assert align(scores, same, OBJECT, [[1]], max_locations=1).match.positive.tolist() == [[True, False, False]]


def test_who_is_among_the_best_of_two_answers_for_the_larger_overlap() -> None:
    """The first location is the best of both objects by its overlap; the second is left to the first object alone."""
    boxes = torch.tensor([[[0.0, 0, 20, 10], [0, 0, 12, 10]]])
    predicted = torch.tensor([[[0.0, 0, 12, 10], [0, 0, 16, 10], [90, 90, 99, 99]]])
    found = align(HALF, predicted, boxes, [[0, 1]], beta=1.0)
    assert found.match.positive.tolist() == [[True, True, False]]
    assert found.match.target.tolist() == [[1, 0, 0]]
    torch.testing.assert_close(found.quality, torch.tensor([[1.0, 0.8, 0.0]]))


def test_an_object_smaller_than_a_cell_has_the_cell_of_its_center() -> None:
    points, levels = level_points([torch.zeros(1, 1, 4, 4), torch.zeros(1, 1, 2, 2)], [8, 16])
    strides = torch.tensor([8.0, 16.0])[levels]
    predicted = torch.cat([points - strides[:, None], points + strides[:, None]], dim=1)[None]
    ground_truth = torch.tensor([[[17.0, 9.0, 19.0, 11.0]]])
    none, one = torch.zeros(1, 1, dtype=torch.bool), torch.tensor([1])
    found = match_by_alignment(
        torch.full((1, 20, 2), 0.01), predicted, points, strides, torch.tensor([[1]]), ground_truth, none, one
    )
    assert points[found.match.positive[0]].tolist() == [[20.0, 12.0], [24.0, 8.0]]
    # the coarse cell's box is four times as large, and so overlaps a quarter as much
    torch.testing.assert_close(found.quality[found.quality > 0], torch.tensor([0.5, 0.5 * 0.25**6]))


def test_an_object_that_every_box_misses_is_learnt_all_the_same() -> None:
    elsewhere = torch.tensor([[[90.0, 90, 99, 99]]]).expand(1, 3, 4)
    scores = torch.tensor([[[0.3, 0.0], [0.6, 0.0], [0.9, 0.0]]])
    found = align(scores, elsewhere, OBJECT, [[0]])
    torch.testing.assert_close(found.quality, torch.tensor([[0.25, 0.5, 0.0]]))
    assert align(scores, elsewhere, OBJECT, [[0]], min_quality=0.0).quality.sum() == 0


def test_scores_of_nothing_do_not_hide_an_object() -> None:
    found = align(torch.zeros(1, 3, 2), FITS, OBJECT, [[0]], beta=1.0)
    torch.testing.assert_close(found.quality, torch.tensor([[0.8, 0.4, 0.0]]))


def test_crowds_padding_and_boxes_without_area_are_no_objects() -> None:
    boxes = torch.cat([OBJECT, OBJECT, torch.tensor([[[5.0, 0, 5, 10]]])])
    found = align(
        HALF.expand(3, 3, 2),
        FITS.expand(3, 3, 4),
        boxes,
        [[0], [0], [0]],
        crowd=torch.tensor([[True], [False], [False]]),
        count=torch.tensor([1, 0, 1]),
    )
    assert not found.match.positive.any() and found.quality.sum() == 0
    assert found.match.ignored.tolist() == [[True, True, False], [False] * 3, [False] * 3]


def test_an_object_in_a_crowd_is_found_there() -> None:
    boxes = torch.tensor([[[0.0, 0, 30, 10], [0, 0, 10, 10]]])
    found = align(HALF, FITS, boxes, [[0, 1]], crowd=torch.tensor([[True, False]]))
    assert found.match.positive.tolist() == [[True, False, False]] and found.match.target[0, 0] == 1
    assert found.match.ignored.tolist() == [[False, True, True]]


def test_a_batch_without_any_object() -> None:
    found = align(HALF, FITS, torch.zeros(1, 0, 4), [[]])
    assert found.quality.shape == (1, 3)
    assert not (found.match.positive | found.match.ignored).any()


def test_nothing_flows_back() -> None:
    scores, predicted = HALF.clone().requires_grad_(), FITS.clone().requires_grad_()
    assert not align(scores, predicted, OBJECT, [[0]]).quality.requires_grad
