"""Imported Mask R-CNN of torchvision has equal boxes, mask logits and masks."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.detection.transform import GeneralizedRCNNTransform

from tests.daily_sample import daily_sample
from tests.weights.peers.randomize import relative_difference
from tests.weights.peers.test_torchvision_detection import CANVAS, build, peer_inputs, same_boxes, tempered
from vertebra.features import Proposals
from vertebra.preprocess.image_transform import ImageTransform
from vertebra.tasks import get_task
from vertebra.weights.importing import assemble
from vertebra.weights.peers.torchvision_instances import BUILDERS


def published_layout(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """The names of the mask head in the file of the first version."""
    return {
        re.sub(r"mask_head\.(\d)\.0\.", lambda match: f"mask_head.mask_fcn{int(match[1]) + 1}.", name): value
        for name, value in state.items()
    }


@torch.no_grad()
@pytest.mark.parametrize("name", daily_sample(list(BUILDERS), 1))
def test_masks_are_equal(name: str) -> None:
    torch.manual_seed(0)
    peer = tempered("fasterrcnn", build(name))
    for layer in peer.roi_heads.mask_head.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.5, 1.5)
    state = peer.state_dict() if name.endswith("_v2") else published_layout(peer.state_dict())
    model, report = assemble(BUILDERS[name](name, state))
    assert not report.leftover and list(model.branches) == ["detect", "instances"]
    torch.manual_seed(3)
    images = torch.randint(0, 256, (2, 3, *CANVAS), dtype=torch.uint8)
    inputs = peer_inputs(peer, images, model.backbone.mean, model.backbone.std)
    expected = peer(inputs)
    decoded = model(images)
    boxes = decoded["detect"]
    for row, theirs in enumerate(expected):
        count = int(boxes.count[row])
        same_boxes(boxes.boxes[row, :count], boxes.scores[row, :count], boxes.labels[row, :count] + 1, theirs)
    assert torch.equal(decoded["instances"].boxes, boxes.boxes)
    compare_masks(model, peer, images, inputs, expected)


def compare_masks(model: Any, peer: Any, images: Any, inputs: Any, expected: list[dict[str, torch.Tensor]]) -> None:
    """Equal logits and masks for torchvision's own boxes, whatever the order of equal scores."""
    transformed, _ = peer.transform(inputs)
    maps = peer.backbone(transformed.tensors)
    features = model.features(images)
    branch = model.branch("instances")
    task, transform = get_task("instances"), ImageTransform(CANVAS, CANVAS, 1.0, 1.0, 0, 0, CANVAS)
    assert isinstance(peer.transform, GeneralizedRCNNTransform)
    for row, theirs in enumerate(expected):
        chosen = {key: value[:20] for key, value in theirs.items()}
        count = len(chosen["boxes"])
        single = {level: values[row : row + 1] for level, values in maps.items()}
        regions = peer.roi_heads.mask_roi_pool(single, [chosen["boxes"]], [CANVAS])
        logits = peer.roi_heads.mask_predictor(peer.roi_heads.mask_head(regions))
        raw = logits[torch.arange(count), chosen["labels"]]
        proposals = Proposals(
            chosen["boxes"][None], chosen["scores"][None], chosen["labels"][None] - 1, torch.tensor([count])
        )
        own = features.rows(torch.tensor([row]))
        outputs = branch.decoder(branch.prepare(own), proposals)
        assert relative_difference(outputs.logits[0], raw) < 1e-4
        values = [value[0].numpy() for value in branch.decoder.decode(outputs, own.frame)]
        prediction: Any = task.from_decoded(values, transform, branch.labels, None)
        pasted = chosen["masks"][:, 0].numpy()
        filled = (pasted > 0.5).any(axis=(1, 2))
        assert len(prediction) == filled.sum() > 3
        clear = np.abs(pasted[filled] - 0.5) > 1e-3
        np.testing.assert_array_equal(prediction.masks[clear], (pasted[filled] > 0.5)[clear])
