"""Backbones: all timm models by name, a few models that timm lacks, and a wrapper for any other module."""

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
"""Models that timm lacks, by name; all other names are those of timm's models."""

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
