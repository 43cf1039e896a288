"""torchvision's RetinaNet, FCOS and Faster R-CNN as Vertebra models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
import torchvision
from torch import Tensor

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, TorchvisionBuilder, renamed

LICENSE = "BSD-3-Clause (torchvision)"
NECK, DECODER = "branches.detect.neck", "branches.detect.decoder"
PYRAMID = (
    (r"backbone\.fpn\.inner_blocks\.(\d)\.(\d)\.", rf"{NECK}.lateral.\1.\2."),
    (r"backbone\.fpn\.layer_blocks\.(\d)\.(\d)\.", rf"{NECK}.smooth.\1.\2."),
    (r"backbone\.fpn\.extra_blocks\.p6\.", f"{NECK}.coarser.convs.0."),
    (r"backbone\.fpn\.extra_blocks\.p7\.", f"{NECK}.coarser.convs.1."),
)
OLDER = (
    (r"backbone\.fpn\.(inner|layer)_blocks\.(\d)\.(weight|bias)", r"backbone.fpn.\1_blocks.\2.0.\3"),
    (r"rpn\.head\.conv\.(weight|bias)", r"rpn.head.conv.0.0.\1"),
)
SIZE = ResizeSpec((800, 1333), "shortest_edge")
RETINANET_SIZES = [[side, int(side * 2 ** (1 / 3)), int(side * 2 ** (2 / 3))] for side in (32, 64, 128, 256, 512)]


def class_names(count: int) -> list[str]:
    """COCO's names if the count with the background is 91, else ``class_1`` …; ids without a name are ``unused_12`` …"""
    if count != 91:
        return [f"class_{number}" for number in range(1, count)]
    names = torchvision.models.detection.FCOS_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    return [name if name != "N/A" else f"unused_{number}" for number, name in enumerate(names) if number]


def retinanet(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """``retinanet_resnet50_fpn`` and ``_v2``; class 0, torchvision's unused background, is left out."""
    newer = name.endswith("_v2")
    state = _newer_towers(renamed(state, OLDER[:2]), step=2)
    classes = len(state["head.classification_head.cls_logits.bias"]) // 9
    tensors = renamed(
        _without_background(state, "head.classification_head.cls_logits", classes),
        [
            *PYRAMID,
            *_towers(norm=newer),
            (r"head\.regression_head\.bbox_reg\.", f"{DECODER}.box_prediction."),
            (r"backbone\.body\.", "backbone.body."),
        ],
    )
    decoder = {
        "name": "retinanet",
        "channels": 256,
        "depth": 4,
        "norm": "group" if newer else "none",
        "finest_stride": 8,
        "anchor_sizes": [[float(side) for side in sizes] for sizes in RETINANET_SIZES],
        "anchor_offset": 0.0,
        "anchor_spacing": "canvas",
        "min_anchors_per_object": 1,
        "box_loss": "giou" if newer else "l1",
        "postprocess": _postprocess(score_threshold=0.05, nms_iou=0.5, max_detections=300),
    }
    neck = _neck(finest_stride=8, extra_levels=2, extra="conv_input" if newer else "conv")
    eps = 0.0 if _frozen_norms(state) and not newer else 1e-5
    return _peer(_resnet(eps, [2, 3, 4], frozen=not newer), neck, decoder, classes, tensors)


def fcos(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """``fcos_resnet50_fpn``; class 0, torchvision's unused background, is left out."""
    classes = len(state["head.classification_head.cls_logits.bias"])
    state = _fcos_towers(renamed(state, OLDER[:1]))
    tensors = renamed(
        _without_background(state, "head.classification_head.cls_logits", classes),
        [
            *PYRAMID,
            *_towers(norm=True),
            (r"head\.regression_head\.bbox_reg\.", f"{DECODER}.box_prediction."),
            (r"head\.regression_head\.bbox_ctrness\.", f"{DECODER}.centerness_prediction."),
            (r"backbone\.body\.", "backbone.body."),
        ],
    )
    decoder = {
        "name": "fcos",
        "channels": 256,
        "depth": 4,
        "norm": "group",
        "finest_stride": 8,
        "distance": "relu",
        "point_offset": 0.0,
        "point_spacing": "canvas",
        "tower_bias": True,
        "postprocess": _postprocess(score_threshold=0.2, nms_iou=0.6, max_detections=100),
    }
    neck = _neck(finest_stride=8, extra_levels=2, extra="conv")
    return _peer(_resnet(1e-5, [2, 3, 4]), neck, decoder, classes, tensors)


def faster_rcnn(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """``fasterrcnn_resnet50_fpn``, ``_v2``, and those on MobileNetV3; torchvision's class 0 is the background."""
    newer, mobile = name.endswith("_v2"), "mobilenet" in name
    state = renamed(state, OLDER[:2])
    classes = len(state["roi_heads.box_predictor.cls_score.bias"])
    body = r"backbone\.body\.(\d+)\." if mobile else r"backbone\.body\."
    tensors = renamed(
        _background_last(state, classes),
        [
            *PYRAMID,
            (r"rpn\.head\.conv\.(\d)\.0\.", rf"{DECODER}.network.convs.\1."),
            (r"rpn\.head\.cls_logits\.", f"{DECODER}.network.objectness."),
            (r"rpn\.head\.bbox_pred\.", f"{DECODER}.network.boxes."),
            (r"roi_heads\.box_head\.fc6\.", f"{DECODER}.head.layers.0."),
            (r"roi_heads\.box_head\.fc7\.", f"{DECODER}.head.layers.2."),
            (r"roi_heads\.box_head\.5\.", f"{DECODER}.head.layers.0."),
            (r"roi_heads\.box_head\.(\d)\.(\d)\.", rf"{DECODER}.head.convs.\1.\2."),
            (r"roi_heads\.box_predictor\.cls_score\.", f"{DECODER}.head.classifier."),
            (r"roi_heads\.box_predictor\.bbox_pred\.", f"{DECODER}.head.boxes."),
            (body, r"backbone.body.features.\1." if mobile else "backbone.body."),
        ],
    )
    sides = [[32.0, 64.0, 128.0, 256.0, 512.0]] * 3 if mobile else [[32.0], [64.0], [128.0], [256.0], [512.0]]
    pre_nms_topk = 150 if name.endswith("320_fpn") else 1000
    decoder = {
        "name": "faster_rcnn",
        "channels": 256,
        "proposal_depth": 2 if newer else 1,
        "anchor_sizes": sides,
        "anchor_offset": 0.0,
        "anchor_spacing": "canvas",
        "region_levels": 2 if mobile else 4,
        "half_pixel": False,
        "head_convs": 4 if newer else 0,
        "hidden": [1024] if newer else [1024, 1024],
        "samples": 512,
        "proposals": {
            "score_threshold": 0.05 if mobile else 0.0,
            "nms_iou": 0.7,
            "pre_nms_topk_per_level": pre_nms_topk,
            "max_detections": pre_nms_topk,
        },
        "postprocess": {"score_threshold": 0.05, "nms_iou": 0.5, "pre_nms_topk": 4000, "max_detections": 100},
    }
    neck = _neck(finest_stride=4, extra_levels=1, extra="pool")
    if newer:
        neck["norm"] = "batch"
    if mobile:
        backbone: dict[str, Any] = {
            "name": "torchvision_mobilenet_v3_large",
            "out_indices": [13, 16],
            "norm_eps": 1e-5,
            "frozen_norm": True,
            "size_multiple": 32,
        }
        resize_spec = ResizeSpec((320, 640), "shortest_edge") if pre_nms_topk == 150 else SIZE
        return _peer(backbone, {**neck, "every_level": True}, decoder, classes, tensors, resize_spec)
    eps = 0.0 if _frozen_norms(state) and not newer else 1e-5
    return _peer(_resnet(eps, [1, 2, 3, 4], frozen=not newer), neck, decoder, classes, tensors)


def _peer(
    backbone: dict[str, Any],
    neck: dict[str, Any],
    decoder: dict[str, Any],
    classes: int,
    tensors: State,
    resize_spec: ResizeSpec = SIZE,
) -> PeerModel:
    branch = {"neck": neck, "decoder": decoder, "classes": class_names(classes)}
    return PeerModel({"backbone": backbone, "branches": {"detect": branch}}, resize_spec, tensors, license=LICENSE)


def _resnet(eps: float, out_indices: list[int], frozen: bool = True) -> dict[str, Any]:
    return {"name": "resnet50", "out_indices": out_indices, "norm_eps": eps, "frozen_norm": frozen, "size_multiple": 32}


def _neck(**options: Any) -> dict[str, Any]:
    return {"name": "fpn", "channels": 256, **options}


def _postprocess(**options: Any) -> dict[str, Any]:
    return {"pre_nms_topk": 5000, "pre_nms_topk_per_level": 1000, **options}


def _frozen_norms(state: Mapping[str, Tensor]) -> bool:
    """True if the backbone's norms were frozen when the file was written: frozen norms have no counters.

    This holds for the published files of the first versions on ResNet-50, which torchvision runs with an eps of 0, and for
    models fine-tuned from them. A file trained from classification weights only is indistinguishable, but needs an eps of
    1e-5: set ``norm_eps`` of the backbone for it.
    """
    return not any(name.startswith("backbone.body.") and name.endswith("num_batches_tracked") for name in state)


def _towers(*, norm: bool) -> list[tuple[str, str]]:
    rules = []
    for theirs, ours in (("classification", "class_tower"), ("regression", "box_tower")):
        layer = rf"head\.{theirs}_head\.conv\.(\d)"
        rules.append((rf"{layer}\.0\.", rf"{DECODER}.head.{ours}.convs.\1."))
        if norm:
            rules.append((rf"{layer}\.1\.", rf"{DECODER}.head.{ours}.norms.\1.0."))
    return [*rules, (r"head\.classification_head\.cls_logits\.", f"{DECODER}.class_prediction.")]


def _newer_towers(state: State, step: int) -> State:
    """RetinaNet's older files number convolutions and activations consecutively: 0, 2, 4, 6."""
    prefix = "head.{}_head.conv."
    if f"{prefix.format('regression')}0.weight" not in state:
        return state
    changed: State = {}
    for name, value in state.items():
        for kind in ("classification", "regression"):
            start = prefix.format(kind)
            if name.startswith(start):
                number, leaf = name.removeprefix(start).split(".")
                name = f"{start}{int(number) // step}.0.{leaf}"
        changed[name] = value
    return changed


def _fcos_towers(state: State) -> State:
    """FCOS numbers convolutions, norms and activations consecutively: 0, 1, 3, 4 …"""
    changed: State = {}
    for name, value in state.items():
        for kind in ("classification", "regression"):
            start = f"head.{kind}_head.conv."
            if name.startswith(start):
                number, leaf = name.removeprefix(start).split(".")
                name = f"{start}{int(number) // 3}.{int(number) % 3}.{leaf}"
        changed[name] = value
    return changed


def _without_background(state: State, layer: str, classes: int) -> State:
    """The class predictions of each anchor without the first class."""
    changed = dict(state)
    for leaf in ("weight", "bias"):
        value = state[f"{layer}.{leaf}"]
        by_class = value.reshape(-1, classes, *value.shape[1:])
        changed[f"{layer}.{leaf}"] = by_class[:, 1:].reshape(-1, *value.shape[1:])
    return changed


def _background_last(state: State, classes: int) -> State:
    """The classifier with the background after the classes, and the box layer without the background."""
    changed = dict(state)
    for leaf in ("weight", "bias"):
        scores = state[f"roi_heads.box_predictor.cls_score.{leaf}"]
        changed[f"roi_heads.box_predictor.cls_score.{leaf}"] = torch.cat([scores[1:], scores[:1]])
        boxes = state[f"roi_heads.box_predictor.bbox_pred.{leaf}"]
        changed[f"roi_heads.box_predictor.bbox_pred.{leaf}"] = boxes[4:]
    return changed


BUILDERS: dict[str, TorchvisionBuilder] = {
    "retinanet_resnet50_fpn": retinanet,
    "retinanet_resnet50_fpn_v2": retinanet,
    "fcos_resnet50_fpn": fcos,
    "fasterrcnn_resnet50_fpn": faster_rcnn,
    "fasterrcnn_resnet50_fpn_v2": faster_rcnn,
    "fasterrcnn_mobilenet_v3_large_fpn": faster_rcnn,
    "fasterrcnn_mobilenet_v3_large_320_fpn": faster_rcnn,
}
