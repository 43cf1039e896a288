"""Backbones: every model of timm by name, and any module by wrapping."""

from vertebra.backbones.catalogue import Family, families, family_of, list_backbones
from vertebra.backbones.foreign import WrappedBackbone, as_backbone
from vertebra.backbones.timm_backbone import TimmBackbone

__all__ = ["Family", "TimmBackbone", "WrappedBackbone", "as_backbone", "families", "family_of", "list_backbones"]
