"""Imported RetinaNet, FCOS and Faster R-CNN of torchvision have equal outputs and boxes."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn
from torchvision.models.detection._utils import overwrite_eps
from torchvision.models.detection.rpn import concat_box_prediction_layers
from torchvision.ops.misc import FrozenBatchNorm2d

from tests.weights.peers.randomize import randomize, relative_difference
from vertebra.model import VisionModel
from vertebra.weights.importing import assemble
from vertebra.weights.peers.torchvision_detection import BUILDERS, class_names

CANVAS = (71, 161)  # padded to 96 x 192, of which the coarsest levels cover more: torchvision shifts their anchors
CLASSES = 4


@pytest.fixture(autouse=True)
def _exact_suppression(monkeypatch: pytest.MonkeyPatch) -> None:
    """For few boxes torchvision tells classes apart by shifting boxes in float32, whose rounding decides overlaps that are near
    the threshold; for many it does not, and so it is here."""
    module = torchvision.ops.boxes
    monkeypatch.setattr(module, "_batched_nms_coordinate_trick", module._batched_nms_vanilla)


def build(name: str, **options: Any) -> Any:
    peer: Any = torchvision.models.get_model(
        name,
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES,
        min_size=CANVAS[0],
        max_size=CANVAS[1],
        **options,
    )
    for layer in peer.modules():
        if isinstance(layer, nn.Conv2d):  # published sizes of the signal; torchvision's heads start near zero
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
        if isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, 0, layer.in_features**-0.5)
    peer = randomize(peer)
    for layer in peer.backbone.body.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.1, 0.4)
    return peer


def peer_inputs(peer: Any, images: Tensor, mean: Tensor, std: Tensor) -> list[Tensor]:
    """torchvision's input: images in 0..1, which it normalizes itself."""
    peer.transform.image_mean, peer.transform.image_std = mean.flatten().tolist(), std.flatten().tolist()
    return [image.float() for image in images]


@torch.no_grad()
def compare(name: str, peer: Any, raw: Any, state: dict[str, Tensor] | None = None) -> VisionModel:
    model, report = assemble(BUILDERS[name](name, peer.state_dict() if state is None else state))
    assert not report.leftover
    torch.manual_seed(3)
    images = torch.randint(0, 256, (2, 3, *CANVAS), dtype=torch.uint8)
    inputs = peer_inputs(peer, images, model.backbone.mean, model.backbone.std)
    branch = model.branch("detect")
    features = branch.prepare(model.features(images))
    raw(peer, inputs, branch.decoder(features), branch.decoder, features)
    expected = peer(inputs)
    decoded = model(images)["detect"]
    for row, theirs in enumerate(expected):
        same_boxes(
            decoded.boxes[row, : decoded.count[row]],
            decoded.scores[row, : decoded.count[row]],
            decoded.labels[row, : decoded.count[row]] + 1,
            theirs,
        )
    return model


def same_boxes(boxes: Tensor, scores: Tensor, labels: Tensor, theirs: dict[str, Tensor]) -> None:
    """The same boxes but for the order of equal scores. Boxes that were cut to nothing at the image's edge are kept by
    torchvision and dropped here, so that others may follow at the end."""
    solid = ((theirs["boxes"][:, 2:] - theirs["boxes"][:, :2]) > 0).all(dim=1)
    expected = {key: value[solid] for key, value in theirs.items()}
    count = len(expected["scores"])
    assert 3 < count <= len(scores)
    assert count == len(scores) or not solid.all()
    boxes, scores, labels = boxes[:count], scores[:count], labels[:count]
    torch.testing.assert_close(scores, expected["scores"], rtol=1e-4, atol=1e-5)
    apart = (boxes[:, None] - expected["boxes"][None]).abs().amax(dim=-1)
    score = (scores[:, None] - expected["scores"]).abs()
    # of two overlapping boxes with equal scores, NMS may keep either
    tied = (score < 1e-6) & (torchvision.ops.box_iou(boxes, expected["boxes"]) > 0.9)
    close = ((apart < 2e-2) | tied) & (labels[:, None] == expected["labels"]) & (score < 1e-3)
    assert close.any(dim=0).all() and close.any(dim=1).all()


def dense(peer: Any, inputs: list[Tensor], outputs: Any, decoder: Any, features: Any) -> None:
    """Logits of all anchors without class 0, centerness, and unclipped boxes."""
    images, _ = peer.transform(inputs)
    maps = list(peer.backbone(images.tensors).values())
    raw = peer.head(maps)
    anchors = torch.stack(peer.anchor_generator(images, maps))
    fcos = "bbox_ctrness" in raw
    coder = peer.box_coder.decode if fcos else peer.box_coder.decode_single
    boxes = [coder(deltas, start) for deltas, start in zip(raw["bbox_regression"], anchors, strict=True)]
    assert relative_difference(outputs.boxes, torch.stack(boxes)) < 1e-4
    assert relative_difference(outputs.class_logits, raw["cls_logits"][..., 1:]) < 1e-4
    if fcos:
        assert relative_difference(outputs.centerness, raw["bbox_ctrness"][..., 0]) < 1e-4


def tempered(name: str, peer: Any) -> Any:
    """Heads with scores and boxes in the range of a trained model's."""
    if name.startswith("fasterrcnn"):
        for layer, spread in ((peer.rpn.head.cls_logits, 0.01), (peer.rpn.head.bbox_pred, 0.002)):
            nn.init.normal_(layer.weight, 0, spread)
        return peer
    logits, boxes = peer.head.classification_head.cls_logits, peer.head.regression_head.bbox_reg
    nn.init.normal_(logits.weight, 0, 0.002)
    nn.init.normal_(logits.bias, -1.5, 0.5)
    logits.bias.data.reshape(-1, CLASSES)[:, 0] = -50  # torchvision's unused background never wins
    nn.init.normal_(boxes.weight, 0, 0.001)
    if name.startswith("fcos"):
        nn.init.uniform_(boxes.bias, 1, 3)
    return peer


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"])
def test_dense_detectors(name: str) -> None:
    torch.manual_seed(0)
    compare(name, tempered(name, build(name)), dense)


def two_stage(peer: Any, inputs: list[Tensor], outputs: Any, decoder: Any, features: Any) -> None:
    """Equal outputs at each anchor, equal proposals, and equal logits for them."""
    images, _ = peer.transform(inputs)
    maps = peer.backbone(images.tensors)
    proposed = decoder.network([features.maps[index] for index in decoder.indices])
    anchors = peer.rpn.anchor_generator(images, list(maps.values()))
    torch.testing.assert_close(proposed.anchors, anchors[0])
    flat = concat_box_prediction_layers(*peer.rpn.head(list(maps.values())))
    for ours, raw in zip((proposed.logits[..., None], proposed.deltas), flat, strict=True):
        assert relative_difference(ours.flatten(0, 1), raw) < 1e-4
    proposals, _ = peer.rpn(images, maps)
    boxes = peer.roi_heads.box_roi_pool(maps, proposals, images.image_sizes)
    logits, _ = peer.roi_heads.box_predictor(peer.roi_heads.box_head(boxes))
    start = 0
    for row, peer_proposals in enumerate(proposals):
        count = len(peer_proposals)
        assert int((outputs.objectness[row] > 0).sum()) == count
        apart = (outputs.proposals[row, :count, None] - peer_proposals).abs().amax(dim=-1)
        far, same = apart.min(dim=1)  # proposals with equal scores have any order
        assert far.max() < 1e-2 and apart.amin(dim=0).max() < 1e-2
        theirs = logits[start : start + count][same]
        assert (
            relative_difference(outputs.class_logits[row, :count], torch.cat([theirs[:, 1:], theirs[:, :1]], 1)) < 1e-3
        )
        start += count


@pytest.mark.parametrize("name", [name for name in BUILDERS if name.startswith("fasterrcnn")])
def test_two_stage_detectors(name: str) -> None:
    torch.manual_seed(0)
    compare(name, tempered(name, build(name)), two_stage)


def freeze(module: nn.Module) -> None:
    """Replaces all norms by frozen ones, as in torchvision's published models."""
    for name, layer in module.named_children():
        if isinstance(layer, nn.BatchNorm2d):
            frozen = FrozenBatchNorm2d(layer.num_features)
            frozen.load_state_dict(layer.state_dict())
            setattr(module, name, frozen)
        freeze(layer)


def published_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The names in the published files of the first versions."""
    older = {}
    for name, value in state.items():
        name = re.sub(r"(fpn\.(?:inner|layer)_blocks\.\d)\.0\.", r"\1.", name)
        name = name.replace("rpn.head.conv.0.0.", "rpn.head.conv.")
        name = re.sub(r"(_head\.conv)\.(\d)\.0\.", lambda match: f"{match[1]}.{2 * int(match[2])}.", name)
        older[name] = value
    assert len(older) == len(state) and older.keys() != state.keys()
    return older


@pytest.mark.parametrize(
    ("name", "eps"),
    [("retinanet_resnet50_fpn", 0.0), ("fasterrcnn_resnet50_fpn", 0.0), ("fasterrcnn_mobilenet_v3_large_fpn", 1e-5)],
)
def test_files_in_the_published_layout(name: str, eps: float) -> None:
    """Frozen norms have no counters; in ResNet-50's first versions they were measured without an eps."""
    torch.manual_seed(0)
    peer = tempered(name, build(name))
    for layer in peer.backbone.body.modules():
        if isinstance(layer, nn.BatchNorm2d):  # about as small as an eps, so that the eps matters
            layer.weight.data *= 0.01
            layer.running_var *= 1e-4
    freeze(peer.backbone.body)
    overwrite_eps(peer, eps)
    model = compare(
        name, peer, dense if name.startswith("retinanet") else two_stage, published_layout(peer.state_dict())
    )
    norms = [layer for layer in model.backbone.modules() if isinstance(layer, nn.modules.batchnorm._BatchNorm)]
    assert norms and all(layer.eps == pytest.approx(eps, abs=1e-30) for layer in norms)


def test_class_names() -> None:
    names = class_names(91)
    assert len(names) == 90 and names[0] == "person" and names[11] == "unused_12" and len(set(names)) == 90
    assert class_names(3) == ["class_1", "class_2"]
