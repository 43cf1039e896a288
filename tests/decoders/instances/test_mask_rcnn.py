"""The masks of boxes: what the loss and the network read, and that they are learned."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from vertebra.annotations.run_lengths import Region
from vertebra.decoders.instances.mask_rcnn import MaskRCNN
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level, Proposals
from vertebra.geometry.mask_cells import shares_in_areas
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import get_task
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.testing import check_decoder, fake_labels, fake_targets
from vertebra.testing.synthetic import fake_features, fake_proposals

SPEC = FeatureSpec((Level(16, 4), Level(24, 8), Level(24, 16)))
LABELS = InstanceLabels(("disc", "ring"))
SIDE = 64


def test_the_contract_with_other_options() -> None:
    options = {"channels": 16, "norm": "batch", "convs": 1, "region_size": 5, "levels": [1]}
    check_decoder(lambda spec, labels: MaskRCNN(spec, labels, **options), SPEC, fake_labels("instances"))  # type: ignore[arg-type]


def test_targets_in_the_cells_of_an_area() -> None:
    masks = torch.zeros(1, 2, 56, 56, dtype=torch.uint8)
    masks[0, 0, :, :28] = 255  # the left half
    boxes = torch.tensor([[[10.0, 10, 38, 38], [0, 0, 0, 0]]])
    own = shares_in_areas(masks, boxes, boxes, 28)
    assert bool((own[0, 0, :, :14] == 1).all()) and not bool(own[0, 0, :, 14:].any()) and not bool(own[0, 1].any())
    area = torch.tensor([[[-4.0, 10, 24, 38], [3, 3, 9, 9]]])  # the left half of it lies beside the box
    beside = shares_in_areas(masks, boxes, area, 28)[0, 0]
    assert not bool(beside[:, :14].any()) and bool((beside[:, 14:] == 1).all())
    finer = shares_in_areas(masks, boxes, torch.tensor([[[17.0, 10, 31, 38], [0, 0, 0, 0]]]), 28)[0, 0]
    torch.testing.assert_close(finer.mean(), torch.tensor(0.5))


def test_padding_changes_nothing() -> None:
    torch.manual_seed(0)
    decoder = MaskRCNN(SPEC, LABELS, channels=16).eval()
    features, proposals = fake_features(SPEC, (SIDE, SIDE)), fake_proposals(LABELS, (SIDE, SIDE))
    with torch.no_grad():
        decoded = decoder.decode(decoder(features, proposals), features.frame)
        cut = Proposals(proposals.boxes[:, :3], proposals.scores[:, :3], proposals.labels[:, :3], proposals.count)
        few = decoder.decode(decoder(features, cut), features.frame)
    torch.testing.assert_close(decoded.masks[:, :3], few.masks)
    assert decoded.masks.shape[2:] == (28, 28) and not bool(decoded.masks[-1].any())
    assert torch.equal(decoded.boxes, proposals.boxes) and torch.equal(decoded.labels, proposals.labels)


def test_a_class_without_an_annotated_object_gets_no_gradient() -> None:
    decoder = MaskRCNN(SPEC, LABELS, channels=16).train()
    targets: Any = fake_targets(LABELS, (SIDE, SIDE))
    targets = targets._replace(labels=targets.labels.clamp(max=0))
    terms, _ = decoder.loss(fake_features(SPEC, (SIDE, SIDE)), targets)
    terms["mask"].mean().backward()
    gradient = decoder.head.logits.weight.grad
    assert gradient is not None and bool(gradient[0].any()) and not bool(gradient[1].any())
    assert decoder.scope_use == "full"


def test_an_image_of_many_objects_learns_from_some() -> None:
    decoder = MaskRCNN(SPEC, LABELS, channels=16, samples=3)
    targets: Any = fake_targets(LABELS, (SIDE, SIDE))
    targets = targets._replace(
        masks=targets.masks.repeat(1, 4, 1, 1), boxes=targets.boxes.repeat(1, 4, 1), labels=targets.labels.repeat(1, 4)
    )
    targets = targets._replace(count=torch.tensor([8, 0]))
    features = fake_features(SPEC, (SIDE, SIDE))
    terms, outputs = decoder.train().loss(features, targets)
    assert outputs.logits.shape[:2] == (2, 3) and float(terms["mask"].count) == 3
    chosen = decoder.eval().loss(features, targets)[1].objects
    assert torch.equal(chosen.boxes[0], targets.boxes[0, :3]), "the first ones, not random ones, in evaluation"
    terms, _ = decoder.train().loss(features, targets._replace(count=torch.tensor([0, 0])))
    assert float(terms["mask"].sum.detach()) == 0 and float(terms["mask"].count) == 0


def test_a_teacher_of_equal_weights_has_nothing_to_teach() -> None:
    decoder, teacher = (MaskRCNN(SPEC, LABELS, channels=16) for _ in range(2))
    features, targets = fake_features(SPEC, (SIDE, SIDE)), fake_targets(LABELS, (SIDE, SIDE))
    outputs = decoder.loss(features, targets)[1]
    assert float(decoder.distillation(outputs, teacher.eval(), features).sum.detach()) > 0
    teacher.load_state_dict(decoder.state_dict())
    assert float(decoder.distillation(outputs, teacher.eval(), features).sum.detach()) == pytest.approx(0, abs=1e-5)
    with pytest.raises(ConfigError, match="set its 'region_size'"):
        decoder.distillation(outputs, MaskRCNN(SPEC, LABELS, channels=16, region_size=7), features)


def test_wrong_options() -> None:
    with pytest.raises(ConfigError, match=r"'levels' must name some of the levels 0 to 2, got \[3\]"):
        MaskRCNN(SPEC, LABELS, levels=[3])
    with pytest.raises(ConfigError, match="'jitter' must be from 0 to 0.9"):
        MaskRCNN(SPEC, LABELS, jitter=1.0)


def shapes() -> tuple[Tensor, Any, list[InstanceAnnotation]]:
    """Four images, each with a disc and a ring."""
    y, x = np.mgrid[:SIDE, :SIDE] + 0.5
    images, annotations = [], []
    for number in range(4):
        disc = np.hypot(x - 18, y - 20 - 3 * number) < 12
        radius = np.hypot(x - 44, y - 44 + 3 * number)
        ring = (radius < 15) & (radius > 7)
        image = np.full((SIDE, SIDE, 3), 40 + 10 * number, dtype=np.uint8)
        image[disc], image[ring] = (200, 60, 60), (60, 200, 80)
        images.append(torch.from_numpy(image).permute(2, 0, 1))
        rles = [Region.of(disc), Region.of(ring)]
        annotations.append(InstanceAnnotation.of(rles, np.array([0, 1]), np.zeros(2, dtype=bool), (SIDE, SIDE)))
    return torch.stack(images), get_task("instances").data.stack(annotations, LABELS), annotations


class TwoLevels(nn.Module):
    """Three strided convolutions; the last two are the levels."""

    def __init__(self) -> None:
        super().__init__()
        widths = (3, 16, 32, 48)
        self.steps = nn.ModuleList(nn.Conv2d(a, b, 3, stride=2, padding=1) for a, b in pairwise(widths))

    def forward(self, images: Tensor) -> Features:
        maps = []
        for step in self.steps:
            images = torch.relu(step(images))
            maps.append(images)
        return Features(tuple(maps[1:]), None, Frame((SIDE, SIDE), torch.tensor([[SIDE, SIDE]] * len(images))))


def test_learns_masks_with_holes() -> None:
    torch.manual_seed(0)
    images, targets, annotations = shapes()
    backbone = TwoLevels()
    decoder = MaskRCNN(FeatureSpec((Level(32, 4), Level(48, 8))), LABELS, channels=32, convs=2)
    optimizer = torch.optim.AdamW([*backbone.parameters(), *decoder.parameters()], lr=3e-3)
    for _ in range(60):
        terms, _ = decoder.loss(backbone(images / 255), targets)
        optimizer.zero_grad()
        terms["mask"].mean().backward()
        optimizer.step()
    proposals = Proposals(targets.boxes, torch.full((4, 2), 0.9), targets.labels, targets.count)
    with torch.no_grad():
        features = backbone(images / 255)
        decoded = decoder.decode(decoder(features, proposals), features.frame)
    transform = ResizeSpec((SIDE, SIDE)).transform(SIDE, SIDE)
    for row, annotation in enumerate(annotations):
        values = [value[row].numpy() for value in decoded]
        prediction: Any = get_task("instances").from_decoded(values, transform, LABELS, None)
        for got, region in zip(prediction.masks, annotation.rles, strict=True):
            expected = region.mask()
            assert (got & expected).sum() / (got | expected).sum() > 0.9
