"""Vertebra builds computer-vision models out of their parts: one backbone, one or more branches.

The public surface is this page; everything heavy is loaded when it is first used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra.backbones import as_backbone
    from vertebra.build import create_model
    from vertebra.errors import VertebraError
    from vertebra.export.evaluate import evaluate
    from vertebra.export.export_model import export_model
    from vertebra.features import Features, FeatureSpec, Frame, Level
    from vertebra.inference.cascade import Cascade
    from vertebra.inference.load import load
    from vertebra.model import VisionModel
    from vertebra.training.run import train
    from vertebra.weights.importing import import_model
    from vertebra.weights.model_file import save

__version__ = "0.1.0"

_HOMES = {
    "as_backbone": "vertebra.backbones",
    "Cascade": "vertebra.inference.cascade",
    "create_model": "vertebra.build",
    "evaluate": "vertebra.export.evaluate",
    "export_model": "vertebra.export.export_model",
    "Features": "vertebra.features",
    "FeatureSpec": "vertebra.features",
    "Frame": "vertebra.features",
    "Level": "vertebra.features",
    "import_model": "vertebra.weights.importing",
    "load": "vertebra.inference.load",
    "save": "vertebra.weights.model_file",
    "train": "vertebra.training.run",
    "VertebraError": "vertebra.errors",
    "VisionModel": "vertebra.model",
}

__all__ = [
    "as_backbone",
    "Cascade",
    "create_model",
    "evaluate",
    "export_model",
    "Features",
    "FeatureSpec",
    "Frame",
    "import_model",
    "Level",
    "load",
    "save",
    "train",
    "VertebraError",
    "VisionModel",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        try:
            return getattr(import_module(_HOMES[name]), name)
        except ModuleNotFoundError as error:
            from vertebra.errors import missing_package

            raise missing_package(error) or error from error
    raise AttributeError(f"module 'vertebra' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted([*__all__, "__version__"])
