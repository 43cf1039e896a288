"""Loss terms of dense detectors."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import generalized_box_iou_loss, sigmoid_focal_loss

from vertebra.geometry.box_coding import encode_deltas
from vertebra.geometry.boxes import from_center_size
from vertebra.losses.detection import centerness, centerness_term, delta_term, focal_term, giou_term


def test_focal_by_hand() -> None:
    """At logit 0 each entry costs weight * 0.25 * log 2."""
    positive, ignored = torch.tensor([[True, False, False]]), torch.tensor([[False, False, True]])
    term = focal_term(torch.zeros(1, 3, 2), torch.tensor([[1, 0, 0]]), positive, ignored)
    assert math.isclose(term.sum.item(), (0.25 + 3 * 0.75) * 0.25 * math.log(2), rel_tol=1e-6)
    assert term.count.item() == 1


def test_focal_equals_torchvision() -> None:
    logits, labels = torch.randn(2, 50, 3), torch.randint(0, 3, (2, 50))
    positive = torch.rand(2, 50) < 0.3
    ground_truth = F.one_hot(labels, 3).float() * positive[..., None]
    term = focal_term(logits, labels, positive, torch.zeros(2, 50, dtype=torch.bool))
    torch.testing.assert_close(term.sum, sigmoid_focal_loss(logits, ground_truth, reduction="sum"))


@pytest.mark.parametrize(("alpha", "gamma"), [(0.25, 2.0), (0.6, 1.5)])
def test_the_gradient_of_focal_is_torchvisions(alpha: float, gamma: float) -> None:
    logits = (6 * torch.randn(2, 50, 7)).requires_grad_()
    labels, positive = torch.randint(0, 7, (2, 50)), torch.rand(2, 50) < 0.3
    ignored = (torch.rand(2, 50) < 0.2) & ~positive
    ground_truth = F.one_hot(labels, 7).float() * positive[..., None]
    each = sigmoid_focal_loss(logits, ground_truth, alpha=alpha, gamma=gamma, reduction="none")
    (expected,) = torch.autograd.grad(3 * torch.where(ignored[..., None], 0, each).sum(), logits)
    term = focal_term(logits, labels, positive, ignored, alpha=alpha, gamma=gamma)
    (found,) = torch.autograd.grad(3 * term.sum, logits)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)
    assert term.count == positive.sum()


def test_boxes_equal_torchvision_on_the_positive_ones() -> None:
    boxes, ground_truth = from_center_size(torch.rand(2, 3, 30, 4) * 20 + 1)
    anchors = from_center_size(torch.rand(30, 4) * 20 + 1)
    positive = torch.rand(3, 30) < 0.5
    expected = generalized_box_iou_loss(boxes[positive], ground_truth[positive], reduction="sum")
    torch.testing.assert_close(giou_term(boxes, ground_truth, positive).sum, expected)
    deltas = torch.randn(3, 30, 4)
    wanted = encode_deltas(ground_truth, anchors)
    for beta in (0.0, 1 / 9):
        expected = F.smooth_l1_loss(deltas[positive], wanted[positive], reduction="sum", beta=beta)
        torch.testing.assert_close(delta_term(deltas, anchors, ground_truth, positive, beta=beta).sum, expected)


def test_what_is_not_positive_gives_neither_loss_nor_nan() -> None:
    boxes = torch.tensor([[[0.0, 0, 5, 5], [3, 3, 3, 3]]], requires_grad=True)
    deltas = torch.zeros(1, 2, 4, requires_grad=True)
    anchors, nothing = torch.tensor([[0.0, 0, 4, 4], [1, 1, 5, 5]]), torch.zeros(1, 2, dtype=torch.bool)
    ground_truth = torch.zeros(1, 2, 4)
    giou, coded = giou_term(boxes, ground_truth, nothing), delta_term(deltas, anchors, ground_truth, nothing, beta=0.1)
    central = centerness_term(deltas[..., 0], ground_truth, nothing)
    (giou.sum + coded.sum + central.sum).backward()
    assert giou.sum == coded.sum == central.sum == giou.count == 0
    assert boxes.grad is not None and (boxes.grad == 0).all()
    assert deltas.grad is not None and (deltas.grad == 0).all()


def test_centerness_by_hand() -> None:
    distances = torch.tensor([[5.0, 5, 5, 5], [1, 5, 4, 5], [0, 5, 10, 5], [2, 1, 8, 4]])
    torch.testing.assert_close(centerness(distances), torch.tensor([1.0, 0.5, 0.0, 0.25]))


def test_losses_are_float32_under_half_precision() -> None:
    logits, positive = torch.randn(1, 4, 2).bfloat16(), torch.tensor([[True, True, False, False]])
    boxes = from_center_size(torch.rand(1, 4, 4) + 1)
    assert focal_term(logits, torch.zeros(1, 4).long(), positive, ~positive).sum.dtype == torch.float32
    assert giou_term(boxes.bfloat16(), boxes, positive).sum.dtype == torch.float32
