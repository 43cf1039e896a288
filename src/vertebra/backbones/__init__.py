"""Backbones: every model of timm by name, a few that timm lacks, and any module by wrapping."""

from vertebra.backbones.base import Backbone, StagedBackbone
from vertebra.backbones.catalog import Family, families, family_of, timm_models
from vertebra.backbones.ssd_vgg import SSDVGG16
from vertebra.backbones.timm_backbone import TimmBackbone
from vertebra.backbones.torchvision_mobilenet import TorchvisionMobileNetV3
from vertebra.backbones.torchvision_mobilenet_v2 import TorchvisionMobileNetV2
from vertebra.backbones.wrapped import WrappedBackbone, as_backbone

BACKBONES: dict[str, type[StagedBackbone]] = {
    "ssd_vgg16": SSDVGG16,
    "torchvision_mobilenet_v2": TorchvisionMobileNetV2,
    "torchvision_mobilenet_v3_large": TorchvisionMobileNetV3,
    "torchvision_mobilenet_v3_small": TorchvisionMobileNetV3,
}
"""What timm lacks, by name; every other name is one of timm's models."""

__all__ = [
    "BACKBONES",
    "Backbone",
    "Family",
    "StagedBackbone",
    "TimmBackbone",
    "WrappedBackbone",
    "as_backbone",
    "families",
    "family_of",
    "timm_models",
]
