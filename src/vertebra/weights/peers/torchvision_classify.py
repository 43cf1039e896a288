"""torchvision's classifiers as Vertebra models, on timm's backbone of the same architecture."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import timm
import torchvision
from torch import Tensor

from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.weights.foreign import to_timm
from vertebra.weights.peers.base import PeerModel, TorchvisionBuilder
from vertebra.weights.peers.timm_classify import classifier

SAME_NAME = (
    "resnet18",
    "resnet34",
    "resnet50",
    "resnet101",
    "resnet152",
    "resnext50_32x4d",
    "resnext101_32x8d",
    "resnext101_64x4d",
    "wide_resnet50_2",
    "wide_resnet101_2",
    "densenet121",
    "densenet161",
    "densenet169",
    "densenet201",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vgg11_bn",
    "vgg13_bn",
    "vgg16_bn",
    "vgg19_bn",
    "convnext_tiny",
    "convnext_small",
    "convnext_base",
    "convnext_large",
    "efficientnet_b0",
    "efficientnet_b1",
    "efficientnet_b2",
    "efficientnet_b3",
    "efficientnet_b4",
    "efficientnet_b5",
    "efficientnet_b6",
    "efficientnet_b7",
    "inception_v3",
)
OTHER_NAME = {
    "mobilenet_v2": "mobilenetv2_100",
    "mobilenet_v3_large": "mobilenetv3_large_100",
    "mobilenet_v3_small": "mobilenetv3_small_100",
    "mnasnet0_5": "mnasnet_050",
    "mnasnet0_75": "mnasnet_075",
    "mnasnet1_0": "mnasnet_100",
    "efficientnet_v2_s": "efficientnetv2_s",
    "efficientnet_v2_m": "efficientnetv2_m",
    "efficientnet_v2_l": "efficientnetv2_l",
    "swin_t": "swin_tiny_patch4_window7_224",
    "swin_s": "swin_small_patch4_window7_224",
    "swin_b": "swin_base_patch4_window7_224",
    "swin_v2_t": "swinv2_tiny_window8_256",
    "swin_v2_s": "swinv2_small_window8_256",
    "swin_v2_b": "swinv2_base_window8_256",
    "vit_b_16": "vit_base_patch16_224",
    "vit_b_32": "vit_base_patch32_224",
    "vit_l_16": "vit_large_patch16_224",
    "vit_l_32": "vit_large_patch32_224",
    "vit_h_14": "vit_huge_patch14_224",
    **{
        f"regnet_{kind}_{size}": f"regnet{kind}_{number}"
        for kind in "xy"
        for size, number in {
            "400mf": "004",
            "800mf": "008",
            "1_6gf": "016",
            "3_2gf": "032",
            "8gf": "080",
            "16gf": "160",
            "32gf": "320",
        }.items()
    },
}
"""torchvision's name to timm's, if they differ. Not supported: AlexNet, GoogLeNet, ShuffleNet, SqueezeNet and MNASNet 1.3,
which timm lacks, and MaxViT, whose padding differs between the two."""

DROPPED = (r"backbone\.body\.AuxLogits\..*",)
"""The auxiliary classifier of Inception, which is used in training only."""


def torchvision_classifier(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """A classifier of torchvision.

    Raises:
        WeightsError: the weights are not those of this architecture.
    """
    architecture = {**OTHER_NAME, **dict.fromkeys(SAME_NAME)}[name] or name
    renamed = to_timm(architecture, state)
    peer = classifier(architecture, dict(state) if renamed is None else renamed)
    weights = torchvision.models.get_model_weights(name).DEFAULT
    backbone: dict[str, Any] = {"name": architecture, **_normalization(architecture, weights.transforms())}
    model = {**peer.model, "backbone": backbone}
    return PeerModel(model, _resize_spec(weights.transforms()), peer.tensors, DROPPED, "BSD-3-Clause (torchvision)")


def _resize_spec(transforms: Any) -> ResizeSpec:
    """The preset's resize of the shorter side and its central crop."""
    crop, resize = transforms.crop_size[0], transforms.resize_size[0]
    return ResizeSpec((crop, crop), "center_crop", crop=min(1.0, crop / resize))


def _normalization(architecture: str, transforms: Any) -> dict[str, Any]:
    """The preset's mean and std, if timm's differ for this architecture; none for Inception, whose published weights convert
    them inside the model to timm's."""
    if architecture == "inception_v3":
        return {}
    config: Any = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    preset = {"mean": tuple(transforms.mean), "std": tuple(transforms.std)}
    timm_values = None if config is None else {"mean": tuple(config.mean), "std": tuple(config.std)}
    return {} if preset == timm_values else {key: list(value) for key, value in preset.items()}


BUILDERS: dict[str, TorchvisionBuilder] = dict.fromkeys([*SAME_NAME, *OTHER_NAME], torchvision_classifier)
