"""Generalized and paired IoU, by hand and against torchvision."""

from __future__ import annotations

import torch
from torchvision.ops import box_iou, generalized_box_iou

from vertebra.geometry.giou import paired_iou, pairwise_giou


def test_by_hand() -> None:
    """The same box, one that covers half of it, one beside it with a box's width between, and an empty one."""
    box = torch.tensor([[0.0, 0, 2, 2]])
    others = torch.tensor([[0.0, 0, 2, 2], [0, 0, 1, 2], [4, 0, 6, 2], [1, 1, 1, 1]])
    torch.testing.assert_close(pairwise_giou(box, others), torch.tensor([[1.0, 0.5, -1 / 3, 0.0]]))
    torch.testing.assert_close(paired_iou(box.expand(4, 4), others), torch.tensor([1.0, 0.5, 0.0, 0.0]))
    empty = torch.zeros(1, 4)
    assert paired_iou(empty, empty).tolist() == [0]


def test_equals_torchvision() -> None:
    corners = torch.rand(2, 7, 2, 2, generator=torch.Generator().manual_seed(0)).sort(dim=2).values.flatten(2)
    torch.testing.assert_close(pairwise_giou(corners[0], corners[1]), generalized_box_iou(corners[0], corners[1]))
    torch.testing.assert_close(paired_iou(corners[0], corners[1]), box_iou(corners[0], corners[1]).diagonal())
    batched = pairwise_giou(corners, corners.flip(0))
    torch.testing.assert_close(batched[1], generalized_box_iou(corners[1], corners[0]))
