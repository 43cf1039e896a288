"""torchvision's RetinaNet, FCOS and Faster R-CNN come in with equal outputs and equal boxes."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torchvision
from torch import Tensor, nn

from tests.weights.peers.randomise import randomise, relative_difference
from vertebra.weights.importing import assemble
from vertebra.weights.peers.torchvision_detection import BUILDERS, class_names

CANVAS = (97, 161)
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
    peer = randomise(peer)
    for layer in peer.backbone.body.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, 0.1, 0.4)
    return peer


def seen(peer: Any, images: Tensor, mean: Tensor, std: Tensor) -> list[Tensor]:
    """What torchvision takes: images in 0..1, which it normalises itself."""
    peer.transform.image_mean, peer.transform.image_std = mean.flatten().tolist(), std.flatten().tolist()
    return [image.float() for image in images]


@torch.no_grad()
def compare(name: str, peer: Any, raw: Any) -> None:
    model, report = assemble(BUILDERS[name](name, peer.state_dict()))
    assert not report.leftover
    torch.manual_seed(3)
    images = torch.randint(0, 256, (2, 3, *CANVAS), dtype=torch.uint8)
    given = seen(peer, images, model.backbone.mean, model.backbone.std)
    branch = model.branch("detect")
    outputs = branch.decoder(branch.prepare(model.features(images)))
    raw(peer, given, outputs)
    expected = peer(given)
    found = model(images)["detect"]
    for row, theirs in enumerate(expected):
        same_boxes(
            found.boxes[row, : found.count[row]],
            found.scores[row, : found.count[row]],
            found.labels[row, : found.count[row]] + 1,
            theirs,
        )


def same_boxes(boxes: Tensor, scores: Tensor, labels: Tensor, theirs: dict[str, Tensor]) -> None:
    """The same boxes but for the order of equal scores. Boxes that were cut to nothing at the image's edge are kept by
    torchvision and dropped here, so that others may follow at the end."""
    solid = ((theirs["boxes"][:, 2:] - theirs["boxes"][:, :2]) > 0).all(dim=1)
    wanted = {key: value[solid] for key, value in theirs.items()}
    count = len(wanted["scores"])
    assert 3 < count <= len(scores)
    assert count == len(scores) or not solid.all()
    boxes, scores, labels = boxes[:count], scores[:count], labels[:count]
    torch.testing.assert_close(scores, wanted["scores"], rtol=1e-4, atol=1e-5)
    apart = (boxes[:, None] - wanted["boxes"][None]).abs().amax(dim=-1)
    score = (scores[:, None] - wanted["scores"]).abs()
    # of two boxes that overlap and score the same to the last digit, either may be the one that stays
    tied = (score < 1e-6) & (torchvision.ops.box_iou(boxes, wanted["boxes"]) > 0.9)
    close = ((apart < 2e-2) | tied) & (labels[:, None] == wanted["labels"]) & (score < 1e-3)
    assert close.any(dim=0).all() and close.any(dim=1).all()


def dense(peer: Any, given: list[Tensor], outputs: Any) -> None:
    """Logits of all anchors but for the class 0, and centerness."""
    images, _ = peer.transform(given)
    raw = peer.head(list(peer.backbone(images.tensors).values()))
    assert relative_difference(outputs.class_logits, raw["cls_logits"][..., 1:]) < 1e-4
    if "bbox_ctrness" in raw:
        assert relative_difference(outputs.centerness, raw["bbox_ctrness"][..., 0]) < 1e-4


@pytest.mark.parametrize("name", ["retinanet_resnet50_fpn", "retinanet_resnet50_fpn_v2", "fcos_resnet50_fpn"])
def test_dense_detectors(name: str) -> None:
    torch.manual_seed(0)
    peer = build(name)
    logits = peer.head.classification_head.cls_logits
    nn.init.normal_(logits.weight, 0, 0.002)
    nn.init.normal_(logits.bias, -1.5, 0.5)
    logits.bias.data.reshape(-1, CLASSES)[:, 0] = -50  # what torchvision keeps for a background never wins
    nn.init.normal_(peer.head.regression_head.bbox_reg.weight, 0, 0.001)
    if name.startswith("fcos"):
        nn.init.uniform_(peer.head.regression_head.bbox_reg.bias, 1, 3)
    compare(name, peer, dense)


def two_stage(peer: Any, given: list[Tensor], outputs: Any) -> None:
    """The same proposals, and the same logits for them."""
    images, _ = peer.transform(given)
    features = peer.backbone(images.tensors)
    proposals, _ = peer.rpn(images, features)
    boxes = peer.roi_heads.box_roi_pool(features, proposals, images.image_sizes)
    logits, _ = peer.roi_heads.box_predictor(peer.roi_heads.box_head(boxes))
    start = 0
    for row, own in enumerate(proposals):
        count = len(own)
        assert int((outputs.objectness[row] > 0).sum()) == count
        torch.testing.assert_close(outputs.proposals[row, :count], own, rtol=1e-3, atol=1e-2)
        theirs = logits[start : start + count]
        assert (
            relative_difference(outputs.class_logits[row, :count], torch.cat([theirs[:, 1:], theirs[:, :1]], 1)) < 1e-3
        )
        start += count


@pytest.mark.parametrize("name", [name for name in BUILDERS if name.startswith("fasterrcnn")])
def test_two_stage_detectors(name: str) -> None:
    torch.manual_seed(0)
    peer = build(name)
    for layer, spread in ((peer.rpn.head.cls_logits, 0.01), (peer.rpn.head.bbox_pred, 0.002)):
        nn.init.normal_(layer.weight, 0, spread)
    compare(name, peer, two_stage)


def test_class_names() -> None:
    names = class_names(91)
    assert len(names) == 90 and names[0] == "person" and names[11] == "unused_12" and len(set(names)) == 90
    assert class_names(3) == ["class_1", "class_2"]
