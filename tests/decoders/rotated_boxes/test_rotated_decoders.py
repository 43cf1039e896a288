"""The decoder of rotated boxes: targets, learning, decoding, export."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

import vertebra
from tests.geometry.test_rectangles import one
from vertebra.decoders.rotated_boxes.rotated_fcos import RotatedFCOS, in_rotated_boxes, side_distances
from vertebra.decoders.rotated_boxes.rotated_retinanet import RotatedRetinaNet
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.geometry.rectangles import rotated_iou
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.targets import RotatedBoxTargets

LABELS = RotatedBoxLabels(("ship", "plane"))
SPEC = FeatureSpec((Level(16, 8), Level(16, 16)))


def targets(*corners: np.ndarray, crowd: bool = False) -> RotatedBoxTargets:
    stacked = torch.from_numpy(np.stack(corners)).float()[None]
    count = len(corners)
    return RotatedBoxTargets(
        stacked, torch.arange(count)[None] % 2, torch.full((1, count), crowd), torch.tensor([count])
    )


def features(batch: int = 1) -> Features:
    torch.manual_seed(0)
    maps = (torch.randn(batch, 16, 8, 8), torch.randn(batch, 16, 4, 4))
    return Features(maps, None, Frame((64, 64), torch.full((batch, 2), 64)))


def test_distances_in_the_frame_of_a_box() -> None:
    corners = torch.from_numpy(one(10, 10, 8, 4, 90))
    np.testing.assert_allclose(side_distances(corners, torch.tensor([10.0, 12.0])), [6, 2, 2, 2], atol=1e-9)
    within = in_rotated_boxes(corners[None], torch.tensor([[10.0, 13], [13, 10]]).double())
    assert (within.distances > 0).all(dim=-1).tolist() == [[True, False]] and within.areas.tolist() == pytest.approx(
        [32]
    )


@pytest.mark.parametrize("kind", [RotatedFCOS, RotatedRetinaNet])
def test_it_learns_boxes_by_heart(kind: Any) -> None:
    torch.manual_seed(0)
    decoder = kind(SPEC, LABELS, channels=32, depth=1)
    inputs, truth = features(), targets(one(20, 24, 30, 9, 35), one(44, 40, 14, 14, 60))
    optimizer = torch.optim.Adam(decoder.parameters(), lr=5e-3)
    for _ in range(90):
        terms, _ = decoder.loss(inputs, truth)
        assert tuple(terms) == decoder.terms
        optimizer.zero_grad()
        sum(term.sum / term.count.clamp(min=1) for term in terms.values()).backward()
        optimizer.step()
    with torch.no_grad():
        result = decoder.eval().decode(decoder(inputs), inputs.frame)
    assert result.corners.shape == (1, 100, 4, 2) and float(result.scores[0, 0]) > 0.5
    best = [int((result.labels[0] == label).nonzero()[0]) for label in (0, 1)]
    overlap = rotated_iou(result.corners[0, best].double(), truth.corners[0].double()).diagonal()
    assert float(overlap.min()) > 0.8
    boxes = result.boxes[0, : int(result.count[0])]
    assert bool((boxes >= 0).all()) and bool((boxes <= 64).all())


@pytest.mark.parametrize("kind", [RotatedFCOS, RotatedRetinaNet])
def test_crowds_and_images_without_objects(kind: Any) -> None:
    decoder = kind(SPEC, LABELS, channels=16, depth=0)
    empty = RotatedBoxTargets(
        torch.zeros(1, 0, 4, 2), torch.zeros(1, 0).long(), torch.zeros(1, 0).bool(), torch.zeros(1).long()
    )
    for truth in (empty, targets(one(30, 30, 60, 60, 10), crowd=True)):
        terms, _ = decoder.loss(features(), truth)
        assert float(terms["box"].count) == 0 and all(bool(term.sum.isfinite()) for term in terms.values())
    nothing = decoder.decode(decoder(features()), Frame((64, 64), torch.zeros(1, 2).long()))
    assert int(nothing.count[0]) == 0 and nothing.labels[0, 0] == -1


def test_options() -> None:
    with pytest.raises(ConfigError, match="center_radius"):
        RotatedFCOS(SPEC, LABELS, center_radius=0)
    for options in ({"aspect_ratios": (0.0,)}, {"min_anchors_per_object": -1}, {"anchor_scale": 0.0}):
        with pytest.raises(ConfigError, match="|".join(options)):
            RotatedRetinaNet(SPEC, LABELS, **options)
    for task in (None, "detect", "rotated_boxes"):
        model: Any = vertebra.create_model(
            backbone="test_resnet",
            decoder={"name": "fcos", "rotated": True, "depth": 0},
            classes=["ship"],
            image_size=64,
            **({} if task is None else {"task": task}),
        )
        assert isinstance(model.branches["rotated_boxes"].decoder, RotatedFCOS)
    with pytest.raises(
        ConfigError, match=r"decoder 'yolox' has no form for rotated boxes; decoders that have one: fcos, retinanet"
    ):
        vertebra.create_model(backbone="test_resnet", decoder={"name": "yolox", "rotated": True}, classes=["ship"])
