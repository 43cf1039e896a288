"""torchvision's Mask R-CNN as Vertebra models: its Faster R-CNN, and a branch of masks on the boxes of this."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from vertebra.weights.peers.base import PeerModel, State, TorchvisionBuilder, renamed
from vertebra.weights.peers.torchvision_detection import NECK, faster_rcnn

MASKS = "branches.instances.decoder.head"
LOGITS = "roi_heads.mask_predictor.mask_fcn_logits"


def mask_rcnn(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """``maskrcnn_resnet50_fpn`` and ``_v2``; torchvision's class 0 is the background, whose masks are left out. Both branches
    are on one pyramid."""
    newer = name.endswith("_v2")
    boxes = faster_rcnn(name, {key: value for key, value in state.items() if ".mask_" not in key})
    detect = boxes.model["branches"]["detect"]
    neck = detect.pop("neck")
    masks: dict[str, Any] = {
        "decoder": {
            "name": "mask_rcnn",
            "channels": 256,
            "levels": [0, 1, 2, 3],
            "norm": "batch" if newer else "none",
            "half_pixel": False,
        },
        "classes": detect["classes"],
        "boxes_from": "detect",
        "whole_pixel_masks": True,
    }
    model = {**boxes.model, "shared": {"neck": neck}, "branches": {"detect": detect, "instances": masks}}
    pyramid = renamed(boxes.tensors, [(NECK.replace(".", r"\."), "shared.0")])
    return replace(boxes, model=model, tensors={**pyramid, **_mask_tensors(state)})


def _mask_tensors(state: Mapping[str, Tensor]) -> State:
    """The tensors of the mask head; the first version of the files numbers its convolutions from 1."""
    chosen = {key: value for key, value in state.items() if ".mask_" in key}
    chosen[f"{LOGITS}.weight"] = chosen[f"{LOGITS}.weight"][1:, :, 0, 0]
    chosen[f"{LOGITS}.bias"] = chosen[f"{LOGITS}.bias"][1:]
    rules = [
        (r"roi_heads\.mask_head\.(\d)\.(\d)\.", rf"{MASKS}.convs.\1.\2."),
        *((rf"roi_heads\.mask_head\.mask_fcn{number + 1}\.", f"{MASKS}.convs.{number}.0.") for number in range(4)),
        (r"roi_heads\.mask_predictor\.conv5_mask\.", f"{MASKS}.upsample."),
        (r"roi_heads\.mask_predictor\.mask_fcn_logits\.", f"{MASKS}.logits."),
    ]
    return renamed(chosen, rules)


BUILDERS: dict[str, TorchvisionBuilder] = {
    "maskrcnn_resnet50_fpn": mask_rcnn,
    "maskrcnn_resnet50_fpn_v2": mask_rcnn,
}
