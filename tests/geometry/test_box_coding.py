"""Boxes relative to anchors and points."""

from __future__ import annotations

import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.models.detection._utils import BoxCoder

from vertebra.geometry.box_coding import decode_deltas, decode_distances, encode_deltas, encode_distances

corner, size = st.floats(-200, 200, width=32), st.floats(1, 300, width=32)
box = st.tuples(corner, corner, size, size).map(lambda b: torch.tensor([b[0], b[1], b[0] + b[2], b[1] + b[3]]))


def test_deltas_by_hand() -> None:
    anchor = torch.tensor([0.0, 0, 10, 20])
    moved = torch.tensor([5.0, 0, 25, 20])
    expected = torch.tensor([1.0, 0.0, math.log(2), 0.0])
    torch.testing.assert_close(encode_deltas(moved, anchor), expected)


def test_deltas_equal_torchvision() -> None:
    coder = BoxCoder(weights=(1.0, 1.0, 1.0, 1.0))
    anchors = torch.tensor([[0.0, 0, 10, 20], [5, 6, 50, 40]])
    boxes = torch.tensor([[1.0, 2, 13, 25], [-5, 6, 90, 20]])
    deltas = encode_deltas(boxes, anchors)
    torch.testing.assert_close(deltas, coder.encode_single(boxes, anchors))
    wild = torch.tensor([[0.3, -0.2, 9.0, 0.1], [1, 2, -3, 20]])
    torch.testing.assert_close(decode_deltas(wild, anchors), coder.decode_single(wild, anchors))


@given(box, box)
def test_deltas_go_there_and_back(found: torch.Tensor, anchor: torch.Tensor) -> None:
    growth = (found[2:] - found[:2]) / (anchor[2:] - anchor[:2])
    if growth.max() < 60:
        torch.testing.assert_close(decode_deltas(encode_deltas(found, anchor), anchor), found, atol=2e-2, rtol=1e-4)


def test_growth_is_limited() -> None:
    grown = decode_deltas(torch.tensor([0.0, 0, 1e6, 1e6]), torch.tensor([0.0, 0, 16, 16]))
    torch.testing.assert_close(grown, torch.tensor([-492.0, -492, 508, 508]))


@given(box, corner, corner)
def test_distances_go_there_and_back(found: torch.Tensor, x: float, y: float) -> None:
    point = torch.tensor([x, y])
    torch.testing.assert_close(decode_distances(encode_distances(found, point), point), found, atol=1e-3, rtol=1e-5)


def test_distances_by_hand() -> None:
    assert encode_distances(torch.tensor([0.0, 0, 10, 20]), torch.tensor([4.0, 5])).tolist() == [4.0, 5.0, 6.0, 15.0]
