"""Anchors matched to objects by overlap."""

from __future__ import annotations

import torch
from torchvision.models.detection._utils import Matcher
from torchvision.ops import box_iou

from vertebra.geometry.boxes import from_center_size
from vertebra.matching.iou import match_by_iou, take

NO_CROWD = torch.zeros(1, 1, dtype=torch.bool)
ONE = torch.tensor([1])


def test_thresholds_by_hand() -> None:
    """IoUs 1, 0.5, 0.45 and 0.2: two answer, one is between the thresholds, one is background."""
    anchors = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [0, 0, 10, 4.5], [0, 0, 10, 2]])
    match = match_by_iou(anchors, torch.tensor([[[0.0, 0, 10, 10]]]), NO_CROWD, ONE)
    assert match.positive.tolist() == [[True, True, False, False]]
    assert match.ignored.tolist() == [[False, False, True, False]]


def test_an_object_without_a_good_anchor_gets_its_best_one() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 2], [0, 0, 10, 3], [20, 20, 30, 30]])
    boxes = torch.tensor([[[0.0, 0, 10, 10]]])
    assert match_by_iou(anchors, boxes, NO_CROWD, ONE).positive.tolist() == [[False, True, False]]
    assert not match_by_iou(anchors, boxes, NO_CROWD, ONE, min_anchors_per_object=0).positive.any()


def test_each_object_gets_its_few_best_anchors() -> None:
    """IoUs 0.3, 0.25, 0.22 and 0.1: the last is too far off, however many are asked for."""
    anchors = torch.tensor([[0.0, 0, 10, 3], [0, 0, 10, 2.5], [0, 0, 10, 2.2], [0, 0, 10, 1]])
    boxes = torch.tensor([[[0.0, 0, 10, 10]]])
    assert match_by_iou(anchors, boxes, NO_CROWD, ONE, min_anchors_per_object=2).positive.tolist() == [
        [True, True, False, False]
    ]
    assert match_by_iou(anchors, boxes, NO_CROWD, ONE, min_anchors_per_object=9).positive.tolist() == [
        [True, True, True, False]
    ]


def test_an_object_that_meets_no_anchor_takes_none() -> None:
    """Its best IoU is 0, which every anchor equals."""
    match = match_by_iou(torch.tensor([[0.0, 0, 10, 10]]), torch.tensor([[[50.0, 50, 60, 60]]]), NO_CROWD, ONE)
    assert not match.positive.any()
    assert not match.ignored.any()


def test_padding_is_no_object() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10]])
    match = match_by_iou(anchors, torch.tensor([[[0.0, 0, 10, 10]]]), NO_CROWD, torch.tensor([0]))
    assert not match.positive.any()
    assert not match.ignored.any()


def test_no_objects_in_the_whole_batch() -> None:
    none = torch.zeros(2, 0, dtype=torch.bool)
    match = match_by_iou(torch.rand(5, 4), torch.zeros(2, 0, 4), none, torch.tensor([0, 0]))
    assert match.positive.shape == match.ignored.shape == match.target.shape == (2, 5)
    assert not (match.positive | match.ignored).any()
    assert take(torch.zeros(2, 0, 4), match).shape == (2, 5, 4)


def test_anchors_in_a_crowd_are_ignored_unless_positive() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [40, 40, 50, 50], [45, 0, 65, 10], [200, 200, 210, 210]])
    boxes = torch.tensor([[[0.0, 0, 100, 100], [0, 0, 10, 10]], [[0, 0, 50, 100], [0, 0, 10, 10]]])
    crowd = torch.tensor([[True, False], [True, False]])
    match = match_by_iou(anchors, boxes, crowd, torch.tensor([2, 1]))
    assert match.positive.tolist() == [[True, False, False, False], [False, False, False, False]]
    assert match.target[0, 0] == 1
    assert match.ignored.tolist() == [[False, True, True, False], [True, True, False, False]]


def test_equals_torchvision_for_each_image() -> None:
    anchors = from_center_size(torch.cat([torch.rand(200, 2) * 80, torch.rand(200, 2) * 30 + 4], dim=1))
    boxes = from_center_size(torch.cat([torch.rand(4, 6, 2) * 80, torch.rand(4, 6, 2) * 40 + 2], dim=-1))
    count = torch.tensor([6, 1, 3, 5])
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=True)
    match = match_by_iou(anchors, boxes, torch.zeros(4, 6, dtype=torch.bool), count)
    for image in range(4):
        expected = matcher(box_iou(boxes[image, : count[image]], anchors))
        assert torch.equal(match.positive[image], expected >= 0)
        assert torch.equal(match.ignored[image], expected == Matcher.BETWEEN_THRESHOLDS)
        assert torch.equal(match.target[image], expected.clamp(min=0))


def test_values_of_the_matched_objects() -> None:
    anchors = torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])
    boxes = torch.tensor([[[20.0, 20, 30, 30], [0, 0, 10, 10]]])
    match = match_by_iou(anchors, boxes, torch.zeros(1, 2, dtype=torch.bool), torch.tensor([2]))
    assert take(torch.tensor([[7, 8]]), match).tolist() == [[8, 7]]
    assert take(boxes, match).tolist() == [[[0.0, 0, 10, 10], [20, 20, 30, 30]]]
