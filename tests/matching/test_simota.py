"""Locations matched to objects by cost."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from vertebra.geometry.points import level_points
from vertebra.matching.simota import _class_cost, match_by_cost

ROW = torch.tensor([[4.0, 4], [12, 4], [20, 4], [28, 4]])  # four cells of stride 8
STRIDES = torch.full((4,), 8.0)
WIDE = torch.tensor([[[0.0, 0, 16, 8]]])
NO_CROWD, ONE = torch.tensor([[False]]), torch.tensor([1])
BOXES = torch.tensor([[[0.0, 0, 16, 8], [0, 0, 12, 8], [8, 0, 24, 8], [24, 0, 32, 8]]])  # IoU 1, 3/4, 1/3, 0


def scores(*of_first_class: float) -> torch.Tensor:
    """(1, A, 2), what is left going to the second class."""
    first = torch.tensor(of_first_class)
    return torch.stack([first, 1 - first], dim=-1)[None]


def test_an_object_gets_as_many_as_its_overlaps_add_up_to() -> None:
    even = scores(0.5, 0.5, 0.5, 0.5)
    match = match_by_cost(even, BOXES, ROW, STRIDES, torch.tensor([[0]]), WIDE, NO_CROWD, ONE)
    assert match.positive.tolist() == [[True, True, False, False]]  # 1 + 3/4 + 1/3 is more than 2
    fewer = match_by_cost(even, BOXES, ROW, STRIDES, torch.tensor([[0]]), WIDE, NO_CROWD, ONE, max_locations=1)
    assert fewer.positive.tolist() == [[True, False, False, False]]


def test_at_least_one_and_it_is_the_one_with_the_right_score() -> None:
    far = torch.tensor([[[0.0, 0, 4, 8]]]).expand(1, 4, 4)  # IoU 1/4 for everyone: the sum is 1
    for label, expected in ((0, [False, True, False, False]), (1, [True, False, False, False])):
        match = match_by_cost(
            scores(0.2, 0.7, 0.9, 0.9), far, ROW, STRIDES, torch.tensor([[label]]), WIDE, NO_CROWD, ONE
        )
        assert match.positive.tolist() == [expected]  # the last two lie outside, which costs more than any score


def test_three_times_the_logarithm_of_the_overlap() -> None:
    """Halving the IoU costs 3 log 2, as much as a score of one eighth."""
    boxes = torch.tensor([[[0.0, 0, 16, 8], [0, 0, 8, 8], [90, 90, 99, 99], [90, 90, 99, 99]]])
    for score, first_wins in ((0.13, True), (0.12, False)):
        given = torch.tensor([[[score, 0.0], [1.0, 0.0], [1.0, 0.0], [1.0, 0.0]]])
        match = match_by_cost(given, boxes, ROW, STRIDES, torch.tensor([[0]]), WIDE, NO_CROWD, ONE)
        assert match.positive.tolist() == [[first_wins, not first_wins, False, False]]


def test_the_cost_of_classes_is_the_cross_entropy() -> None:
    given, kinds = torch.rand(6, 3), torch.tensor([2, 0, 1])
    wanted = F.one_hot(kinds, 3).float()
    expected = F.binary_cross_entropy(given[None].expand(3, 6, 3), wanted[:, None].expand(3, 6, 3), reduction="none")
    torch.testing.assert_close(_class_cost(given, kinds), expected.sum(dim=-1))


def test_who_is_asked_twice_answers_for_the_cheaper_object() -> None:
    boxes = torch.tensor([[[0.0, 0, 16, 8], [0, 0, 14, 8]]])
    predicted = torch.tensor([[[0.0, 0, 14, 8], [90, 90, 99, 99], [90, 90, 99, 99], [90, 90, 99, 99]]])
    given = scores(0.5, 0.5, 0.5, 0.5)
    match = match_by_cost(
        given, predicted, ROW, STRIDES, torch.tensor([[0, 0]]), boxes, torch.zeros(1, 2).bool(), torch.tensor([2])
    )
    assert match.positive.tolist() == [[True, False, False, False]]
    assert match.target[0, 0] == 1


def test_an_object_smaller_than_a_cell_has_a_location() -> None:
    """No cell's middle lies in it; the middle of the nearest ones does lie near its center."""
    points, levels = level_points([torch.zeros(1, 1, 8, 8), torch.zeros(1, 1, 4, 4)], [8, 16])
    strides = torch.tensor([8.0, 16.0])[levels]
    predicted = torch.cat([points - strides[:, None], points + strides[:, None]], dim=1)[None]
    match = match_by_cost(
        torch.full((1, 80, 2), 0.5),
        predicted,
        points,
        strides,
        torch.tensor([[0]]),
        torch.tensor([[[14.5, 14.5, 17.5, 17.5]]]),
        NO_CROWD,
        ONE,
    )
    assert match.positive.sum() == 1
    assert (points[match.positive[0]] - 16).abs().max() <= 4


def test_crowds_padding_and_boxes_without_area_are_no_objects() -> None:
    even = scores(0.5, 0.5, 0.5, 0.5)
    boxes = torch.tensor([[[0.0, 0, 16, 8]], [[0.0, 0, 16, 8]], [[8.0, 0, 8, 8]]])
    match = match_by_cost(
        even.expand(3, 4, 2),
        BOXES.expand(3, 4, 4),
        ROW,
        STRIDES,
        torch.zeros(3, 1).long(),
        boxes,
        torch.tensor([[True], [False], [False]]),
        torch.tensor([1, 0, 1]),
    )
    assert not match.positive.any()
    assert match.ignored.tolist() == [[True, True, False, False], [False] * 4, [False] * 4]


def test_a_batch_without_any_object() -> None:
    match = match_by_cost(
        torch.full((2, 4, 2), 0.5),
        BOXES.expand(2, 4, 4),
        ROW,
        STRIDES,
        torch.zeros(2, 0).long(),
        torch.zeros(2, 0, 4),
        torch.zeros(2, 0).bool(),
        torch.tensor([0, 0]),
    )
    assert match.positive.shape == (2, 4) and not (match.positive | match.ignored).any()
