"""Each keypoint decoder overfits four synthetic images, to about a pixel, with and without boxes."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from vertebra.decoders.keypoints.heatmap import Heatmap
from vertebra.decoders.keypoints.keypoint_regression import KeypointRegression
from vertebra.decoders.keypoints.simcc import SimCC
from vertebra.features import Features, FeatureSpec, Frame, Level, Proposals
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.targets import KeypointTargets

LABELS = KeypointLabels(("disc",), points=("middle", "spot"))
SPEC = FeatureSpec((Level(32, 4), Level(48, 8)))
SIDE = 48
PARTS: list[tuple[type[Any], dict[str, Any]]] = [
    (Heatmap, {}),
    (SimCC, {"depth": 1}),
    (KeypointRegression, {"hidden": 64, "flow_steps": 2}),
]


class TinyBackbone(nn.Module):
    """Three strided convolutions."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 48)
        self.steps = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, stride=2, padding=1), nn.GroupNorm(4, b), nn.ReLU())
            for a, b in pairwise(widths)
        )

    def forward(self, images: Tensor) -> Features:
        maps = []
        for step in self.steps:
            images = step(images)
            maps.append(images)
        return Features(tuple(maps[1:]), None, Frame((SIDE, SIDE), torch.tensor([[SIDE, SIDE]] * len(images))))


def discs() -> tuple[Tensor, KeypointTargets]:
    """Discs with a spot on their rim: the points are the disc's middle and the spot's."""
    side = torch.arange(SIDE) + 0.5
    y, x = side[:, None], side[None, :]
    images, points, boxes = [], [], []
    for number in range(4):
        radius, middle_x, middle_y = 8.0 + number, 14.3 + 6 * number, 32.6 - 4 * number
        spot_x, spot_y = middle_x + radius * math.cos(1.3 * number), middle_y + radius * math.sin(1.3 * number)
        disc = (x - middle_x) ** 2 + (y - middle_y) ** 2 < radius**2
        image = disc * torch.tensor([0.9, 0.4, 0.3]).view(3, 1, 1)
        spot = (x - spot_x) ** 2 + (y - spot_y) ** 2 < 9
        images.append(torch.where(spot, torch.tensor([0.1, 0.2, 1.0]).view(3, 1, 1), image))
        points.append([[[middle_x, middle_y, 2.0], [spot_x, spot_y, 1.0]]])
        boxes.append([[middle_x - radius, middle_y - radius, middle_x + radius, middle_y + radius]])
    ones = torch.ones(4, dtype=torch.int64)
    return torch.stack(images), KeypointTargets(torch.tensor(points), torch.tensor(boxes), 0 * ones[:, None], ones)


@pytest.mark.parametrize("on_boxes", [False, True])
@pytest.mark.parametrize(("part", "options"), PARTS)
def test_learns_four_images_by_heart(part: type[Any], options: dict[str, Any], on_boxes: bool) -> None:
    images, ground_truth = discs()
    backbone, decoder = TinyBackbone(), part(SPEC, LABELS, on_boxes=on_boxes, channels=32, jitter=0.05, **options)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *decoder.parameters()], lr=3e-3)
    course = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=200)
    for _ in range(200):
        terms, _ = decoder.loss(backbone(images), ground_truth)
        optimizer.zero_grad()
        torch.stack([term.mean() for term in terms.values()]).sum().backward()
        torch.nn.utils.clip_grad_norm_([*backbone.parameters(), *decoder.parameters()], 5.0)
        optimizer.step()
        course.step()
    decoder.eval()
    proposals = (
        Proposals(ground_truth.boxes, torch.full((4, 1), 0.9), ground_truth.labels, ground_truth.count)
        if on_boxes
        else None
    )
    with torch.no_grad():
        features = backbone(images)
        decoded = decoder.decode(decoder(features, proposals), features.frame)
    errors = (decoded.points - ground_truth.points[..., :2]).norm(dim=-1)
    assert float(errors.mean()) < 1.5
    assert float(decoded.scores.min()) > 0.3
