"""FCOS: its own rules."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torchvision.models.detection.fcos import FCOSHead

from vertebra.decoders.detect.fcos import FCOS
from vertebra.errors import ConfigError
from vertebra.features import Features, FeatureSpec, Frame, Level
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.targets import DetectTargets

LABELS = DetectLabels(("a", "b"))
SPEC = FeatureSpec((Level(64, 8), Level(64, 16)))


def features() -> Features:
    maps = (torch.randn(2, 64, 4, 5), torch.randn(2, 64, 2, 3))
    return Features(maps, None, Frame((32, 40), torch.tensor([[32, 40], [32, 40]])))


def test_classes_and_centerness_equal_torchvision_with_the_same_weights() -> None:
    ours = FCOS(SPEC, LABELS, depth=4)
    theirs = FCOSHead(64, 1, 2, num_convs=4)
    for head, tower in (
        (theirs.classification_head, ours.head.class_tower),
        (theirs.regression_head, ours.head.box_tower),
    ):
        for place, (conv, norms) in enumerate(zip(tower.convs, tower.norms, strict=True)):
            head.conv[3 * place].weight.data.copy_(conv.weight)
            head.conv[3 * place + 1] = norms[0]
    ours.class_prediction.load_state_dict(theirs.classification_head.cls_logits.state_dict())
    assert ours.centerness_prediction is not None
    ours.centerness_prediction.load_state_dict(theirs.regression_head.bbox_ctrness.state_dict())
    given = features()
    expected, found = theirs(list(given.maps)), ours(given)
    torch.testing.assert_close(found.class_logits, expected["cls_logits"])
    torch.testing.assert_close(found.centerness, expected["bbox_ctrness"][..., 0])


def test_boxes_are_distances_from_cells() -> None:
    decoder = FCOS(SPEC, LABELS)
    nn.init.zeros_(decoder.box_prediction.weight)
    nn.init.constant_(decoder.box_prediction.bias, math.log(2))  # type: ignore[arg-type]
    boxes = decoder(features()).boxes
    assert boxes.shape == (2, 26, 4)
    torch.testing.assert_close(boxes[0, 0], torch.tensor([-12.0, -12, 20, 20]))
    torch.testing.assert_close(boxes[0, 20], torch.tensor([-24.0, -24, 40, 40]))
    decoder.scales.data[1] = 2
    torch.testing.assert_close(decoder(features()).boxes[0, 20], torch.tensor([-56.0, -56, 72, 72]))


def test_scores_are_weighted_by_centerness() -> None:
    decoder = FCOS(SPEC, LABELS)
    given = features()
    outputs = decoder(given)
    logits = torch.full_like(outputs.class_logits, -20)
    logits[0, 7, 1] = 0.0
    central = torch.full_like(outputs.centerness, math.log(0.25 / 0.75))
    found = decoder.decode(outputs._replace(class_logits=logits, centerness=central), given.frame)
    assert found.count.tolist() == [1, 0]
    assert found.labels[0, 0] == 1
    torch.testing.assert_close(found.scores[0, 0], torch.tensor(math.sqrt(0.5 * 0.25)))


def test_without_centerness() -> None:
    decoder = FCOS(SPEC, LABELS, centerness=False)
    ground_truth = DetectTargets(
        torch.tensor([[[0.0, 0, 20, 20]]] * 2), torch.zeros(2, 1).long(), torch.zeros(2, 1).bool(), torch.tensor([1, 1])
    )
    terms, outputs = decoder.loss(features(), ground_truth)
    assert outputs.centerness is None
    assert terms["centerness"] == (0, 0)
    sum(term.mean() for term in terms.values()).backward()  # type: ignore[union-attr]
    assert all(weight.grad is not None for weight in decoder.parameters())
    assert decoder.decode(outputs, features().frame).boxes.shape == (2, 100, 4)


def test_a_radius_of_nothing_is_refused() -> None:
    with pytest.raises(ConfigError, match="'center_radius' must be above 0, got 0"):
        FCOS(SPEC, LABELS, center_radius=0.0)
