"""Noisy copies of the truth, by hand."""

from __future__ import annotations

import pytest
import torch

from vertebra.decoders.detect._denoising_queries import group_count, noisy_queries, visibility
from vertebra.geometry.boxes import from_center_size
from vertebra.layers.positional_attention import HIDDEN

BOXES = torch.tensor([[[0.5, 0.5, 0.2, 0.4], [0.3, 0.6, 0.1, 0.1]], [[0.4, 0.4, 0.2, 0.2], [0.0, 0.0, 0.0, 0.0]]])
LABELS = torch.tensor([[1, 2], [0, -1]])
COUNT = torch.tensor([2, 1])


def test_as_many_groups_as_fit() -> None:
    assert [group_count(objects, 100) for objects in (0, 1, 3, 60, 500)] == [100, 100, 33, 1, 1]


def test_the_places_of_copies_by_hand() -> None:
    """Two groups of two objects: near, near, far, far, and again; the second image has one object only."""
    made = noisy_queries(BOXES, LABELS, COUNT, classes=3, queries=4, label_noise=0.0, box_noise=0.0)
    assert made.group.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert made.target.tolist() == [[0, 1] * 4] * 2
    assert made.real.tolist() == [[True] * 8, [True, False] * 4]
    assert made.positive.tolist() == [[True, True, False, False] * 2, [True, False, False, False] * 2]
    assert made.labels.tolist() == [[1, 2] * 4, [0] * 8]
    torch.testing.assert_close(made.boxes[0, :2], BOXES[0])


def test_near_copies_are_nearer_than_far_ones() -> None:
    torch.manual_seed(0)
    made = noisy_queries(BOXES, LABELS, COUNT, classes=3, queries=400, label_noise=0.0, box_noise=1.0)
    ground_truth = from_center_size(BOXES[0])[made.target[0]]
    half = 0.5 * BOXES[0, :, 2:].repeat(1, 2)[made.target[0]]
    moved = (from_center_size(made.boxes[0]) - ground_truth).abs() / half
    assert float(moved[made.positive[0]].max()) <= 1.0 + 1e-4
    assert float(moved[~made.positive[0]].min()) >= 1.0 - 1e-4 and float(moved.max()) <= 2.0 + 1e-4
    corners = from_center_size(made.boxes)
    assert float(corners.min()) >= -1e-6 and float(corners.max()) <= 1 + 1e-6


def test_half_of_the_noise_reaches_labels() -> None:
    torch.manual_seed(0)
    labels = torch.zeros(4, 1, dtype=torch.int64)
    boxes = torch.full((4, 1, 4), 0.5)
    made = noisy_queries(boxes, labels, torch.ones(4).long(), classes=1000, queries=500, label_noise=0.6, box_noise=0.0)
    assert float((made.labels != 0).float().mean()) == pytest.approx(0.3, abs=0.03)


def test_shapes_follow_the_padding_and_not_the_counts() -> None:
    nothing = noisy_queries(
        BOXES[:, :0], LABELS[:, :0], torch.zeros(2).long(), classes=3, queries=5, label_noise=0.5, box_noise=1.0
    )
    assert nothing.labels.shape == (2, 10) and not nothing.real.any()
    crowded = noisy_queries(
        torch.full((1, 9, 4), 0.5),
        torch.zeros(1, 9).long(),
        torch.tensor([9]),
        classes=3,
        queries=4,
        label_noise=0.5,
        box_noise=1.0,
    )
    assert crowded.labels.shape == (1, 8) and int(crowded.target.max()) == 3


def test_who_sees_whom_by_hand() -> None:
    """Two groups of two copies, the last copy not real; three queries, the last one empty."""
    group = torch.tensor([0, 0, 1, 1])
    real = torch.tensor([[True, True, True, False]])
    empty = torch.tensor([[False, False, True]])
    bias = visibility(group, real, empty)
    assert bias.shape == (1, 1, 7, 7) and set(bias.flatten().tolist()) == {0.0, HIDDEN}
    assert (bias[0, 0] == 0).int().tolist() == [
        [1, 1, 0, 0, 1, 1, 0],
        [1, 1, 0, 0, 1, 1, 0],
        [0, 0, 1, 0, 1, 1, 0],
        [0, 0, 1, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 0],
        [0, 0, 0, 0, 1, 1, 0],
    ]
