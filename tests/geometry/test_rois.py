"""Areas around boxes, and points relative to them."""

from __future__ import annotations

import torch

from vertebra.geometry.rois import areas_around, from_unit, jitter_boxes, to_unit


def test_areas_hold_the_box_and_have_one_aspect() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 24], [0, 0, 4, 40], [0, 0, 0, 0]])
    areas = areas_around(boxes, margin=1.5, aspect=2.0)
    # 20 x 4 becomes 30 x 6, and 30 x 15 for the aspect; 4 x 40 becomes 6 x 60, and 120 x 60
    torch.testing.assert_close(areas[0], torch.tensor([5.0, 14.5, 35.0, 29.5]))
    torch.testing.assert_close(areas[1], torch.tensor([-58.0, -10.0, 62.0, 50.0]))
    torch.testing.assert_close(areas[2], torch.tensor([-1.0, -0.5, 1.0, 0.5]))


def test_jitter_stays_within_its_amount() -> None:
    boxes = torch.tensor([[10.0, 20, 30, 60]]).expand(1000, 4)
    moved = jitter_boxes(boxes, 0.1)
    width, height = moved[:, 2] - moved[:, 0], moved[:, 3] - moved[:, 1]
    assert 17.99 < float(width.min()) < 18.2 and 21.8 < float(width.max()) < 22.01
    assert 35.99 < float(height.min()) < 36.4 and 43.6 < float(height.max()) < 44.01
    center = (moved[:, :2] + moved[:, 2:]) / 2 - torch.tensor([20.0, 40.0])
    assert 1.9 < float(center[:, 0].abs().max()) <= 2.001 and 3.8 < float(center[:, 1].abs().max()) <= 4.001
    torch.testing.assert_close(jitter_boxes(boxes, 0.0), boxes)


def test_points_go_to_parts_of_an_area_and_back() -> None:
    areas = torch.tensor([[[10.0, 20, 30, 60], [0, 0, 8, 8]]])
    points = torch.tensor([[[[10.0, 20], [30, 60]], [[2, 6], [-8, 4]]]])
    unit = to_unit(points, areas)
    torch.testing.assert_close(unit, torch.tensor([[[[0.0, 0], [1, 1]], [[0.25, 0.75], [-1, 0.5]]]]))
    torch.testing.assert_close(from_unit(unit, areas), points)
