"""Imported SSD300 and SSDLite320 of torchvision have equal outputs and boxes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.weights.peers.randomize import randomize, relative_difference
from tests.weights.peers.test_torchvision_detection import same_boxes
from vertebra.weights.importing import assemble
from vertebra.weights.peers.torchvision_ssd import BUILDERS

CLASSES = 4


@pytest.fixture(autouse=True)
def _exact_suppression(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the rounding of torchvision's shift of boxes in float32, see test_torchvision_detection.py."""
    module = torchvision.ops.boxes
    monkeypatch.setattr(module, "_batched_nms_coordinate_trick", module._batched_nms_vanilla)


def build(name: str) -> Any:
    peer: Any = torchvision.models.get_model(name, weights=None, weights_backbone=None, num_classes=CLASSES)
    for layer in peer.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    peer = randomize(peer)
    for layer in peer.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.4, 1.0)
    if hasattr(peer.backbone, "scale_weight"):  # VGG has no norms, and its input values are up to 128
        nn.init.uniform_(peer.backbone.scale_weight, 5, 30)
        peer.backbone.features[0].weight.data /= 100
    for layers, spread in ((peer.head.classification_head, 0.02), (peer.head.regression_head, 0.02)):
        for layer in layers.module_list:
            last = layer if isinstance(layer, nn.Conv2d) else layer[-1]
            nn.init.normal_(last.weight, 0, spread)
    return peer


def raw(peer: Any, inputs: Tensor) -> tuple[Tensor, Tensor]:
    """Logits with the background last, and unclipped boxes."""
    images, _ = peer.transform(list(inputs))
    maps = list(peer.backbone(images.tensors).values())
    outputs = peer.head(maps)
    anchors = peer.anchor_generator(images, maps)
    boxes = [peer.box_coder.decode_single(*pair) for pair in zip(outputs["bbox_regression"], anchors, strict=True)]
    return outputs["cls_logits"].roll(-1, dims=-1), torch.stack(boxes)


@torch.no_grad()
@pytest.mark.parametrize(
    ("name", "canvas"),
    [
        ("ssd300_vgg16", (300, 300)),
        ("ssd300_vgg16", (316, 268)),
        ("ssdlite320_mobilenet_v3_large", (320, 320)),
        ("ssdlite320_mobilenet_v3_large", (161, 227)),
    ],
)
def test_equal_to_the_last_box(name: str, canvas: tuple[int, int]) -> None:
    torch.manual_seed(0)
    peer = build(name)
    peer.transform.fixed_size = canvas[::-1]
    model, report = assemble(BUILDERS[name](name, peer.state_dict()))
    assert not report.leftover
    images = torch.randint(0, 256, (2, 3, *canvas), dtype=torch.uint8)
    inputs = images.float() / 255
    branch = model.branch("detect")
    outputs = branch.decoder(branch.prepare(model.features(images)))
    logits, boxes = raw(peer, inputs)
    assert relative_difference(outputs.class_logits, logits) < 1e-4
    assert relative_difference(outputs.boxes, boxes) < 1e-4
    decoded = model(images)["detect"]
    for row, theirs in enumerate(peer(list(inputs))):
        assert len(theirs["scores"]) > 20
        count = decoded.count[row]
        same_boxes(decoded.boxes[row, :count], decoded.scores[row, :count], decoded.labels[row, :count] + 1, theirs)


def test_a_tail_of_full_width_is_read_off_the_file() -> None:
    peer: Any = torchvision.models.get_model(
        "ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None, num_classes=2
    )
    assert BUILDERS["ssdlite320_mobilenet_v3_large"]("", peer.state_dict()).model["backbone"]["reduced_tail"]


def test_the_published_canvas_and_classes() -> None:
    peer: Any = torchvision.models.get_model("ssdlite320_mobilenet_v3_large", weights=None, weights_backbone=None)
    made = BUILDERS["ssdlite320_mobilenet_v3_large"]("", peer.state_dict())
    assert (made.resize_spec.size, made.resize_spec.mode) == ((320, 320), "resize")
    branch = made.model["branches"]["detect"]
    assert branch["classes"][0] == "person" and len(branch["classes"]) == 90
    assert branch["decoder"]["postprocess"]["pre_nms_topk"] == 27000
