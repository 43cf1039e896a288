"""The losses of queries, by hand."""

from __future__ import annotations

import math

import pytest
import torch

from vertebra.losses.queries import exclusive_query_errors, query_errors, varifocal_loss


def test_varifocal_loss_by_hand() -> None:
    """The right class is to be 0.8 and is 0.5; the wrong one is to be 0 and is 0.5. A query for nothing has two wrong."""
    logits = torch.zeros(1, 2, 2)
    found = varifocal_loss(logits, torch.tensor([[1, 0]]), torch.tensor([[0.8, 0.3]]), torch.tensor([[True, False]]))
    wrong = 0.75 * 0.25 * math.log(2)
    torch.testing.assert_close(found, torch.tensor([[0.8 * math.log(2) + wrong, 2 * wrong]]))


def test_the_best_score_is_how_well_the_box_fits() -> None:
    logits = torch.zeros(1, 1, 1, requires_grad=True)
    score = torch.tensor([[0.7]])
    at_best = logits + torch.tensor(0.7 / 0.3).log()
    varifocal_loss(at_best, torch.tensor([[0]]), score, torch.tensor([[True]])).sum().backward()
    assert logits.grad is not None and float(logits.grad.abs().max()) < 1e-6


def test_errors_by_hand() -> None:
    """A box half as wide as its object; a query for nothing; and one that does not count."""
    boxes = torch.tensor([[[0.5, 0.5, 0.1, 0.2], [0.2, 0.2, 0.1, 0.1], [0.3, 0.3, 0.1, 0.1]]], requires_grad=True)
    ground_truth = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0], [9.0, 9.0, 9.0, 9.0]]])
    errors = query_errors(
        torch.zeros(1, 3, 1),
        boxes,
        torch.zeros(1, 3).long(),
        ground_truth,
        torch.tensor([[True, False, False]]),
        torch.tensor([[True, True, False]]),
    )
    expected = 0.5 * math.log(2) + 0.75 * 0.25 * math.log(2)
    assert [float(value.detach()) for value in errors] == pytest.approx([expected, 5 * 0.1, 2 * 0.5], rel=1e-5)
    assert float(errors.total().detach()) == pytest.approx(expected + 1.5, rel=1e-5)
    errors.total().backward()
    assert boxes.grad is not None and bool(torch.isfinite(boxes.grad).all()) and not boxes.grad[0, 1:].any()


def test_errors_of_one_class_or_none_by_hand() -> None:
    """Three outcomes with probabilities 1/4, 1/4 and a half for nothing; one query of two has an object."""
    logits = torch.tensor([[[0.0, 0.0, math.log(2)]] * 2], requires_grad=True)
    boxes = torch.tensor([[[0.5, 0.5, 0.1, 0.2], [0.2, 0.2, 0.1, 0.1]]])
    ground_truth = torch.tensor([[[0.5, 0.5, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0]]])
    positive = torch.tensor([[True, False]])
    errors, weight = exclusive_query_errors(
        logits, boxes, torch.tensor([[1, 0]]), ground_truth, positive, none_weight=0.1
    )
    expected = [math.log(4) + 0.1 * math.log(2), 5 * 0.1, 2 * 0.5]
    assert [float(value.detach()) for value in errors] == pytest.approx(expected, rel=1e-5)
    assert float(weight) == pytest.approx(1.1)
    errors.classification.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad[0], torch.tensor([[0.25, -0.75, 0.5], [0.025, 0.025, -0.05]]))
