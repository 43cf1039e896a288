"""torchvision's SSD300 and SSDLite320 as Vertebra models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, State, TorchvisionBuilder, renamed
from vertebra.weights.peers.torchvision_detection import DECODER, LICENSE, NECK, class_names

BODY = "backbone.body.features"
SSD_SCALES = [0.07, 0.15, 0.33, 0.51, 0.69, 0.87, 1.05]
SSDLITE_SCALES = [0.2, 0.35, 0.5, 0.65, 0.8, 0.95, 1.0]
SSD_CLASSES_BIAS, SSDLITE_CLASSES_BIAS = "module_list.0.bias", "module_list.0.1.bias"


def ssd300(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """``ssd300_vgg16``; torchvision's class 0 is the background."""
    classes = len(state[f"head.classification_head.{SSD_CLASSES_BIAS}"]) // 4
    conv5_3 = [(rf"backbone\.extra\.0\.{index}\.", f"{BODY}.{23 + index}.") for index in (1, 3, 5)]
    tensors = renamed(
        _background_last(state, classes),
        [
            (r"backbone\.scale_weight$", f"{NECK}.factors"),
            (r"backbone\.features\.", f"{BODY}."),
            *conv5_3,
            (r"backbone\.extra\.0\.7\.1\.", f"{BODY}.31."),
            (r"backbone\.extra\.0\.7\.3\.", f"{BODY}.33."),
            *[(rf"backbone\.extra\.{index}\.0\.", f"{NECK}.extra.{index - 1}.0.0.") for index in (1, 2, 3, 4)],
            *[(rf"backbone\.extra\.{index}\.2\.", f"{NECK}.extra.{index - 1}.1.0.") for index in (1, 2)],
            *[(rf"backbone\.extra\.{index}\.2\.", f"{NECK}.extra.{index - 1}.1.conv.") for index in (3, 4)],
            (r"head\.classification_head\.module_list\.", f"{DECODER}.class_predictions."),
            (r"head\.regression_head\.module_list\.", f"{DECODER}.box_predictions."),
        ],
    )
    neck = {
        "name": "ssd_extra",
        "extra_levels": 2,
        "channels": [512, 256, 256, 256],
        "norm": "none",
        "unpadded": [100, 300],
        "rescaled": True,
    }
    decoder = {
        "name": "ssd",
        "finest_stride": 8,
        "scales": SSD_SCALES,
        "min_boxes_per_object": 1,
        "postprocess": _postprocess(
            classes, score_threshold=0.01, nms_iou=0.45, max_detections=200, pre_nms_topk_per_class=400
        ),
    }
    return _peer(
        {"name": "ssd_vgg16", "out_indices": [3, 5]}, neck, decoder, classes, tensors, ResizeSpec((300, 300), "resize")
    )


def ssdlite320(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """``ssdlite320_mobilenet_v3_large``; torchvision's class 0 is the background."""
    classes = len(state[f"head.classification_head.{SSDLITE_CLASSES_BIAS}"]) // 6
    tensors = renamed(
        _background_last(state, classes),
        [
            (r"backbone\.features\.0\.13\.", f"{BODY}.13.block.0."),
            (r"backbone\.features\.0\.", f"{BODY}."),
            (r"backbone\.features\.1\.0\.", f"{BODY}.13.block."),
            *[(rf"backbone\.features\.1\.{index}\.", f"{BODY}.{13 + index}.") for index in (1, 2, 3)],
            (r"backbone\.extra\.(\d)\.(\d)\.", rf"{NECK}.extra.\1.\2."),
            (r"head\.classification_head\.module_list\.", f"{DECODER}.class_predictions."),
            (r"head\.regression_head\.module_list\.", f"{DECODER}.box_predictions."),
        ],
    )
    backbone = {
        "name": "torchvision_mobilenet_v3_large",
        "reduced_tail": len(state["backbone.features.1.3.1.weight"]) < 960,
        "out_indices": ["13.expansion", 16],
        "norm_eps": 1e-3,
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
    }
    neck = {"name": "ssd_extra", "extra_levels": 4, "channels": [512, 256, 256, 128], "separable": True}
    decoder = {
        "name": "ssdlite",
        "finest_stride": 16,
        "scales": SSDLITE_SCALES,
        "aspect_ratios": [[2.0, 3.0]] * 6,
        "cell_spacing": "even",
        "min_boxes_per_object": 1,
        "postprocess": _postprocess(
            classes, score_threshold=0.001, nms_iou=0.55, max_detections=300, pre_nms_topk_per_class=300
        ),
    }
    return _peer(backbone, neck, decoder, classes, tensors, ResizeSpec((320, 320), "resize"))


def _peer(
    backbone: dict[str, Any],
    neck: dict[str, Any],
    decoder: dict[str, Any],
    classes: int,
    tensors: State,
    resize_spec: ResizeSpec,
) -> PeerModel:
    branch = {"neck": neck, "decoder": decoder, "classes": class_names(classes)}
    return PeerModel({"backbone": backbone, "branches": {"detect": branch}}, resize_spec, tensors, license=LICENSE)


def _postprocess(classes: int, *, pre_nms_topk_per_class: int, **options: Any) -> dict[str, Any]:
    pre_nms_topk = max((classes - 1) * pre_nms_topk_per_class, options["max_detections"])
    return {**options, "pre_nms_topk_per_class": pre_nms_topk_per_class, "pre_nms_topk": pre_nms_topk}


def _background_last(state: Mapping[str, Tensor], classes: int) -> State:
    """The class predictions of each default box, with the background after the classes."""
    changed = dict(state)
    for name, value in state.items():
        if _is_class_prediction(name):
            by_class = value.reshape(-1, classes, *value.shape[1:])
            changed[name] = torch.cat([by_class[:, 1:], by_class[:, :1]], dim=1).reshape(value.shape)
    return changed


def _is_class_prediction(name: str) -> bool:
    """True for tensors of the last convolution: ``module_list.2.weight`` in SSD, ``module_list.2.1.weight`` in SSDLite."""
    start = "head.classification_head.module_list."
    path = name.removeprefix(start).split(".")
    return name.startswith(start) and (len(path) == 2 or (len(path) == 3 and path[1] == "1"))


BUILDERS: dict[str, TorchvisionBuilder] = {
    "ssd300_vgg16": ssd300,
    "ssdlite320_mobilenet_v3_large": ssdlite320,
}
