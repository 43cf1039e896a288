"""torchvision's segmentation models as Vertebra models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torchvision
from torch import Tensor

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.peers.base import PeerModel, TorchvisionBuilder, renamed

LICENSE = "BSD-3-Clause (torchvision)"
BRANCH = "branches.segment"
ASPP = (
    (r"classifier\.0\.convs\.([0-3])\.", rf"{BRANCH}.encoder.branches.\1."),
    (r"classifier\.0\.convs\.4\.1\.", f"{BRANCH}.encoder.pool."),
    (r"classifier\.0\.convs\.4\.2\.", f"{BRANCH}.encoder.pool_norm."),
    (r"classifier\.0\.project\.", f"{BRANCH}.encoder.join.0."),
    (r"classifier\.1\.", f"{BRANCH}.decoder.body.0.0."),
    (r"classifier\.2\.", f"{BRANCH}.decoder.body.0.1."),
    (r"classifier\.4\.", f"{BRANCH}.decoder.classifier.1."),
)
FCN = (
    (r"classifier\.([01])\.", rf"{BRANCH}.decoder.body.0.\1."),
    (r"classifier\.4\.", f"{BRANCH}.decoder.classifier.1."),
)
LRASPP = (
    (r"classifier\.cbr\.", f"{BRANCH}.decoder.deep."),
    (r"classifier\.scale\.1\.", f"{BRANCH}.decoder.weigh.0."),
    (r"classifier\.low_classifier\.", f"{BRANCH}.decoder.low_classifier."),
    (r"classifier\.high_classifier\.", f"{BRANCH}.decoder.classifier.1."),
)
AUXILIARY = (
    (r"aux_classifier\.([01])\.", rf"{BRANCH}.decoder.auxiliary.body.0.\1."),
    (r"aux_classifier\.4\.", f"{BRANCH}.decoder.auxiliary.body.2."),
)


def torchvision_segmenter(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """A segmentation model of torchvision: FCN and DeepLabV3 on a dilated ResNet, DeepLabV3 and LR-ASPP on MobileNetV3.

    Args:
        name: name of torchvision's builder.
        state: with torchvision's parameter names, with or without the auxiliary classifier.
    """
    kind, _, body = name.partition("_")
    rules = {"fcn": FCN, "deeplabv3": ASPP, "lraspp": LRASPP}[kind]
    mobile = body.startswith("mobilenet")
    # MobileNetV3's published files have "backbone.4.", its modules "backbone.features.4."
    theirs = r"backbone\.(?:features\.)?(\d+)\." if mobile else r"backbone\."
    ours = r"backbone.body.features.\1." if mobile else "backbone.body."
    # not timm's MobileNetV3, which dilates from another block on
    out_indices = [4, 16] if mobile else [3, 4]
    backbone: dict[str, Any] = {"name": f"torchvision_{body}", "dilated": True, "out_indices": out_indices}
    if not mobile:
        backbone = {"name": body, "output_stride": 8, "out_indices": out_indices}
    bias = "classifier.low_classifier.bias" if kind == "lraspp" else "classifier.4.bias"
    branch = {
        **_parts(kind, state),
        "classes": class_names(len(state[bias])),
    }
    tensors = renamed(state, [*rules, *AUXILIARY, (theirs, ours)])
    resize_spec = ResizeSpec((520, 100 * 520), "shortest_edge")
    return PeerModel({"backbone": backbone, "branches": {"segment": branch}}, resize_spec, tensors, license=LICENSE)


def _parts(kind: str, state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Encoder and decoder of a kind of model; the weights determine their channels."""
    fit: dict[str, Any] = {"fit": "size", "auxiliary": 0.5 if "aux_classifier.0.weight" in state else 0.0}
    if kind == "lraspp":
        channels = len(state["classifier.cbr.0.weight"])
        return {"decoder": {"name": "lraspp", "channels": channels, "auxiliary": 0.0, "fit": "size"}}
    if kind == "fcn":
        return {"decoder": {"name": "fcn", "channels": len(state["classifier.0.weight"]), **fit}}
    channels = len(state["classifier.0.project.0.weight"])
    encoder = {"name": "aspp", "channels": channels, "rates": [12, 24, 36], "separable": False, "dropout": 0.5}
    return {"encoder": encoder, "decoder": {"name": "fcn", "channels": channels, "dropout": 0.0, **fit}}


def class_names(count: int) -> list[str]:
    """Pascal VOC's names if the count is 21, else ``class_0`` …; the first one is the background."""
    if count != 21:
        return [f"class_{number}" for number in range(count)]
    names = torchvision.models.segmentation.FCN_ResNet50_Weights.DEFAULT.meta["categories"]
    return ["background", *names[1:]]


NAMES = (
    "fcn_resnet50",
    "fcn_resnet101",
    "deeplabv3_resnet50",
    "deeplabv3_resnet101",
    "deeplabv3_mobilenet_v3_large",
    "lraspp_mobilenet_v3_large",
)
BUILDERS: dict[str, TorchvisionBuilder] = dict.fromkeys(NAMES, torchvision_segmenter)
