"""Areas, overlaps, clipping and conversions of boxes."""

from __future__ import annotations

import torch
import torchvision
from hypothesis import given
from hypothesis import strategies as st

from vertebra.geometry.boxes import (
    box_area,
    clip_boxes,
    from_center_size,
    pairwise_intersection,
    pairwise_iou,
    to_center_size,
)

side = st.floats(-500, 500, width=32)
boxes = st.lists(st.tuples(side, side, side, side), min_size=1, max_size=8).map(
    lambda rows: torch.tensor([(min(a, c), min(b, d), max(a, c), max(b, d)) for a, b, c, d in rows])
)


def test_area_by_hand() -> None:
    given_boxes = torch.tensor([[0.0, 0, 2, 3], [1, 1, 1, 9], [5, 5, 2, 2]])
    assert box_area(given_boxes).tolist() == [6.0, 0.0, 0.0]


def test_overlap_by_hand() -> None:
    first = torch.tensor([[0.0, 0, 10, 10], [0, 0, 0, 0]])
    second = torch.tensor([[5.0, 0, 15, 10], [20, 20, 30, 30], [0, 0, 0, 0]])
    assert pairwise_intersection(first, second).tolist() == [[50.0, 0.0, 0.0], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(pairwise_iou(first, second), torch.tensor([[1 / 3, 0.0, 0.0], [0.0, 0.0, 0.0]]))


def test_overlap_equals_torchvision_for_each_image_of_a_batch() -> None:
    first = from_center_size(torch.rand(3, 7, 4) * 20 + 1)
    second = from_center_size(torch.rand(5, 4) * 20 + 1)
    expected = torch.stack([torchvision.ops.box_iou(image, second) for image in first])
    torch.testing.assert_close(pairwise_iou(first, second), expected)


@given(boxes)
def test_overlap_is_symmetric_and_one_with_itself(found: torch.Tensor) -> None:
    iou = pairwise_iou(found, found)
    torch.testing.assert_close(iou, iou.T)
    assert ((iou >= 0) & (iou <= 1 + 1e-4)).all()
    sizes = found[:, 2:] - found[:, :2]
    real = (sizes > 0.1).all(dim=1)
    torch.testing.assert_close(iou.diagonal()[real], torch.ones(int(real.sum())), atol=1e-3, rtol=0)


@given(boxes)
def test_center_and_size_go_there_and_back(found: torch.Tensor) -> None:
    torch.testing.assert_close(from_center_size(to_center_size(found)), found, atol=1e-3, rtol=1e-5)


@given(boxes, st.integers(1, 300), st.integers(1, 300))
def test_clipped_boxes_lie_in_their_image(found: torch.Tensor, height: int, width: int) -> None:
    clipped = clip_boxes(found[None], torch.tensor([[height, width]]))[0]
    assert (clipped >= 0).all()
    assert (clipped[:, 0::2] <= width).all()
    assert (clipped[:, 1::2] <= height).all()
    torch.testing.assert_close(clip_boxes(clipped[None], torch.tensor([[height, width]]))[0], clipped)


def test_each_image_is_clipped_to_its_own_size() -> None:
    found = torch.tensor([[[-5.0, -5, 50, 50]], [[-5, -5, 50, 50]]])
    clipped = clip_boxes(found, torch.tensor([[10, 20], [30, 40]]))
    assert clipped.tolist() == [[[0.0, 0, 20, 10]], [[0, 0, 40, 30]]]
