"""Losses of sides that are predicted as distributions, and of objectness."""

from __future__ import annotations

import math

import pytest
import torch
from torchvision.ops import generalized_box_iou_loss

from vertebra.geometry.boxes import from_center_size
from vertebra.losses.distribution import (
    distribution_focal_loss,
    expected_bin,
    quality_score_loss,
    weighted_distribution_sum,
    weighted_giou_sum,
)
from vertebra.losses.objectness import objectness_term, overlap_score_term, squared_iou_term


def test_scores_by_hand() -> None:
    """At logit 0 each entry costs log 2: once where a quality is asked for, 0.75 / 4 where nothing is."""
    logits = torch.zeros(1, 2, 3, requires_grad=True)
    positive = torch.tensor([[True, False]])
    loss = quality_score_loss(logits, torch.tensor([[2, 0]]), torch.tensor([[0.7, 0.9]]), positive)
    nothing = 0.75 / 4
    torch.testing.assert_close(loss, math.log(2) * torch.tensor([[1 + 2 * nothing, 3 * nothing]]))
    loss.sum().backward()
    assert logits.grad is not None
    least = nothing / 2
    torch.testing.assert_close(logits.grad, torch.tensor([[[least, least, -0.2], [least, least, least]]]))


def test_the_mean_of_a_distribution_by_hand() -> None:
    logits = torch.tensor([[0.5, 0.25, 0.25], [1 / 3, 1 / 3, 1 / 3]]).log()
    torch.testing.assert_close(expected_bin(logits), torch.tensor([0.75, 1.0]))


def test_distribution_focal_loss_by_hand() -> None:
    chances = torch.tensor([0.1, 0.2, 0.3, 0.4])
    for ground_truth, expected in ((2.25, -(0.75 * math.log(0.3) + 0.25 * math.log(0.4))), (1.0, -math.log(0.2))):
        found = distribution_focal_loss(chances.log(), torch.tensor(ground_truth))
        assert math.isclose(found.item(), expected, rel_tol=1e-6)


@pytest.mark.parametrize(("ground_truth", "bin"), [(-5.0, 0), (0.0, 0), (3.0, 3), (17.0, 3)])
def test_what_lies_outside_is_brought_to_the_end(ground_truth: float, bin: int) -> None:
    logits = torch.randn(4)
    found = distribution_focal_loss(logits, torch.tensor(ground_truth))
    torch.testing.assert_close(found, -logits.log_softmax(0)[bin])


def test_the_least_loss_is_at_the_truth() -> None:
    logits, ground_truth = torch.zeros(3, 8, requires_grad=True), torch.tensor([0.0, 2.4, 6.9])
    optimizer = torch.optim.Adam([logits], lr=0.3)
    for _ in range(150):
        optimizer.zero_grad()
        distribution_focal_loss(logits, ground_truth).sum().backward()
        optimizer.step()
    torch.testing.assert_close(expected_bin(logits.detach()), ground_truth, atol=0.05, rtol=0)


def test_weights_are_counted() -> None:
    logits = torch.randn(1, 2, 4, 5)
    ground_truth = torch.rand(1, 2, 4) * 4
    each = distribution_focal_loss(logits, ground_truth).mean(dim=-1)[0]
    found = weighted_distribution_sum(logits, ground_truth, torch.tensor([[0.5, 2.0]]))
    torch.testing.assert_close(found, 0.5 * each[0] + 2 * each[1])
    boxes, wanted = from_center_size(torch.rand(2, 3, 4) + 1)
    loss = generalized_box_iou_loss(boxes, wanted)
    found = weighted_giou_sum(boxes[None], wanted[None], torch.tensor([[1.0, 0.0, 3.0]]))
    torch.testing.assert_close(found, loss[0] + 3 * loss[2])


def test_what_has_no_weight_gives_neither_loss_nor_nan() -> None:
    boxes = torch.tensor([[[0.0, 0, 5, 5], [3, 3, 3, 3]]], requires_grad=True)
    logits = torch.zeros(1, 2, 4, 5, requires_grad=True)
    nowhere, nothing = torch.full((1, 2, 4), float("nan")), torch.zeros(1, 2)
    loss = weighted_giou_sum(boxes, nowhere, nothing) + weighted_distribution_sum(logits, nowhere, nothing)
    loss.backward()
    assert loss == 0
    assert boxes.grad is not None and (boxes.grad == 0).all()
    assert logits.grad is not None and (logits.grad == 0).all()


def test_objectness_by_hand() -> None:
    """log 2 for each location that counts."""
    positive, ignored = torch.tensor([[True, False, False]]), torch.tensor([[False, False, True]])
    term = objectness_term(torch.zeros(1, 3), positive, ignored)
    assert math.isclose(term.sum.item(), 2 * math.log(2), rel_tol=1e-6) and term.count == 1


def test_a_class_is_asked_for_the_overlap() -> None:
    """Of two classes at a half each, the right one is to be 0.8 and the other 0: log 2 for both."""
    logits = torch.zeros(1, 2, 2, requires_grad=True)
    term = overlap_score_term(logits, torch.tensor([[1, 0]]), torch.tensor([[0.8, 0.3]]), torch.tensor([[True, False]]))
    assert math.isclose(term.sum.item(), 2 * math.log(2), rel_tol=1e-6) and term.count == 1
    term.sum.backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.tensor([[[0.5, -0.3], [0.0, 0.0]]]))


def test_squared_iou_by_hand() -> None:
    boxes = torch.tensor([[[0.0, 0, 10, 10], [0, 0, 10, 10], [2, 2, 2, 2]]], requires_grad=True)
    ground_truth = torch.tensor([[[0.0, 0, 10, 5], [0, 0, 10, 10], [0, 0, 9, 9]]])
    term = squared_iou_term(boxes, ground_truth, torch.tensor([[True, True, False]]))
    assert math.isclose(term.sum.item(), 1 - 0.5**2, rel_tol=1e-6) and term.count == 2
    term.sum.backward()
    assert boxes.grad is not None and boxes.grad.isfinite().all() and (boxes.grad[0, 2] == 0).all()


def test_losses_are_float32_under_half_precision() -> None:
    positive = torch.tensor([[True, False]])
    boxes = from_center_size(torch.rand(1, 2, 4) + 1)
    logits = torch.randn(1, 2, 4, 5).bfloat16()
    found = [
        quality_score_loss(logits[..., 0, :], positive.long(), positive.float(), positive).sum(),
        weighted_distribution_sum(logits, boxes, positive.float()),
        weighted_giou_sum(boxes.bfloat16(), boxes, positive.float()),
        objectness_term(logits[..., 0, 0], positive, ~positive).sum,
        overlap_score_term(logits[..., 0, :], positive.long(), positive.float(), positive).sum,
        squared_iou_term(boxes.bfloat16(), boxes, positive).sum,
    ]
    assert all(value.dtype == torch.float32 for value in found)
