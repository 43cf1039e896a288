"""Locations matched to objects by place and size."""

from __future__ import annotations

from types import SimpleNamespace

import torch
from torchvision.models.detection import FCOS as TorchvisionFCOS

from vertebra.geometry.boxes import from_center_size
from vertebra.geometry.points import level_points
from vertebra.matching.fcos import match_by_location, size_ranges


def one_object(box: list[float], crowd: bool = False) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    return torch.tensor([[box]]), torch.tensor([[crowd]]), torch.tensor([1])


def test_ranges_of_the_paper() -> None:
    inf = float("inf")
    assert size_ranges((8, 16, 32, 64, 128)) == [(0, 64), (64, 128), (128, 256), (256, 512), (512, inf)]
    assert size_ranges((16,)) == [(0, inf)]


def test_only_locations_inside_and_near_the_center() -> None:
    points, levels = level_points([torch.zeros(1, 1, 8, 8)], [8])
    match = match_by_location(points, levels, [8], *one_object([0.0, 0, 64, 20]))
    found = {tuple(point) for point in points[match.positive[0]].tolist()}
    assert found == {(28.0, 4.0), (36.0, 4.0), (28.0, 12.0), (36.0, 12.0)}


def test_the_smallest_object_wins() -> None:
    points, levels = level_points([torch.zeros(1, 1, 3, 3)], [8])
    boxes = torch.tensor([[[0.0, 0, 24, 24], [8, 8, 16, 16]]])
    match = match_by_location(points, levels, [8], boxes, torch.zeros(1, 2, dtype=torch.bool), torch.tensor([2]))
    assert match.positive.all()
    assert match.target.tolist() == [[0, 0, 0, 0, 1, 0, 0, 0, 0]]


def test_crowds_are_ignored() -> None:
    points, levels = level_points([torch.zeros(1, 1, 2, 2)], [8])
    match = match_by_location(points, levels, [8], *one_object([0.0, 0, 16, 8], crowd=True))
    assert not match.positive.any()
    assert match.ignored.tolist() == [[True, True, False, False]]


def test_no_objects() -> None:
    points, levels = level_points([torch.zeros(1, 1, 2, 2)], [8])
    empty = torch.zeros(1, 0, dtype=torch.bool)
    assert not match_by_location(points, levels, [8], torch.zeros(1, 0, 4), empty, torch.tensor([0])).positive.any()
    boxes, crowd, _ = one_object([0.0, 0, 16, 16])
    assert not match_by_location(points, levels, [8], boxes, crowd, torch.tensor([0])).positive.any()


def test_equals_torchvision() -> None:
    maps, strides = [torch.zeros(1, 1, 16, 20), torch.zeros(1, 1, 8, 10), torch.zeros(1, 1, 4, 5)], [8, 16, 32]
    points, levels = level_points(maps, strides)
    half = torch.tensor(strides)[levels][:, None] / 2
    anchors = torch.cat([points - half, points + half], dim=1)
    boxes = from_center_size(torch.cat([torch.rand(3, 7, 2) * 140, torch.rand(3, 7, 2) * 140 + 5], dim=-1))
    seen: list[torch.Tensor] = []
    spy = SimpleNamespace(
        center_sampling_radius=1.5,
        head=SimpleNamespace(compute_loss=lambda targets, outputs, anchors, matched: seen.extend(matched)),
    )
    targets = [{"boxes": found} for found in boxes]
    TorchvisionFCOS.compute_loss(spy, targets, {}, [anchors] * 3, [320, 80, 20])  # type: ignore[arg-type]
    match = match_by_location(points, levels, strides, boxes, torch.zeros(3, 7, dtype=torch.bool), torch.full((3,), 7))
    assert match.positive.any()
    assert torch.equal(torch.where(match.positive, match.target, -1), torch.stack(seen))
