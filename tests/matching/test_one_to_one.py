"""One-to-one matching: by hand, and against trying every way."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
import torch

from vertebra.matching.one_to_one import exclusive_query_cost, match_queries, query_cost
from vertebra.tasks.assignment import min_cost_assignment


def test_the_sum_counts_and_not_each_object_by_itself() -> None:
    """Both objects like the first query best; together it is cheaper to give it to the second one."""
    cost = torch.tensor([[[1.0, 1.0], [2.0, 9.0], [5.0, 8.0]]])
    assert match_queries(cost, torch.tensor([2])).tolist() == [[1, 0, -1]]
    assert match_queries(cost, torch.tensor([1])).tolist() == [[0, -1, -1]]
    assert match_queries(cost, torch.tensor([0])).tolist() == [[-1, -1, -1]]


def test_each_image_for_itself_and_more_objects_than_queries() -> None:
    cost = torch.tensor([[[3.0, 1.0, 2.0], [1.0, 2.0, 5.0]], [[0.0, 1.0, 9.0], [0.0, 9.0, 9.0]]])
    assert match_queries(cost, torch.tensor([3, 2])).tolist() == [[1, 0], [1, 0]]


@pytest.mark.parametrize("shape", [(1, 1), (1, 5), (3, 3), (4, 6), (5, 5)])
def test_no_other_way_is_cheaper(shape: tuple[int, int]) -> None:
    random = np.random.default_rng(sum(shape))
    rows, columns = shape
    for number in range(20):
        cost = random.normal(size=shape) if number % 2 else random.integers(0, 4, size=shape).astype(float)  # ties, too
        found = min_cost_assignment(cost)
        assert len(set(found.tolist())) == rows
        sums = (sum(cost[row, way[row]] for row in range(rows)) for way in itertools.permutations(range(columns), rows))
        assert cost[np.arange(rows), found].sum() == pytest.approx(min(sums))


def test_as_cheap_as_scipy_at_the_size_of_a_crowd() -> None:
    optimize = pytest.importorskip("scipy.optimize", reason="scipy is not installed")
    random = np.random.default_rng(0)
    for shape in ((7, 100), (100, 100), (60, 300)):
        cost = random.normal(size=shape).round(1)
        found, (rows, columns) = min_cost_assignment(cost), optimize.linear_sum_assignment(cost)
        assert len(set(found.tolist())) == shape[0]
        assert cost[np.arange(shape[0]), found].sum() == pytest.approx(cost[rows, columns].sum())


def test_what_is_no_number_is_taken_last() -> None:
    cost = torch.tensor([[[float("nan")], [4.0], [float("inf")]]])
    assert match_queries(cost, torch.tensor([1])).tolist() == [[-1, 0, -1]]


def test_the_cost_by_hand() -> None:
    """Probability one half, a box beside the object with its width between: L1 is 0.4, GIoU -1/3."""
    logits = torch.tensor([[[0.0, 7.0]]])
    boxes, ground_truth = torch.tensor([[[0.1, 0.5, 0.2, 0.2]]]), torch.tensor([[[0.5, 0.5, 0.2, 0.2]]])
    cost = query_cost(logits, boxes, torch.tensor([[0]]), ground_truth)
    classification = (0.25 - 0.75) * 0.25 * math.log(2)
    torch.testing.assert_close(cost, torch.tensor([[[2 * classification + 5 * 0.4 + 2 / 3]]]))


def test_the_cost_of_one_class_or_none_by_hand() -> None:
    """The object's class has a probability of 1/4; its box is the one above."""
    logits = torch.tensor([[[0.0, 0.0, math.log(2)]]])
    boxes, ground_truth = torch.tensor([[[0.1, 0.5, 0.2, 0.2]]]), torch.tensor([[[0.5, 0.5, 0.2, 0.2]]])
    cost = exclusive_query_cost(logits, boxes, torch.tensor([[1]]), ground_truth)
    torch.testing.assert_close(cost, torch.tensor([[[5 * 0.4 + 2 / 3 - 0.25]]]))
