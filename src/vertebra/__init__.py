"""Vertebra builds computer-vision models out of their parts: one backbone, one or more branches.

This file is the public API; heavy modules are imported at their first use.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vertebra.api import Model, Run, create_model, import_model, resume, train
    from vertebra.backbones import as_backbone
    from vertebra.data.convert import convert_data
    from vertebra.errors import (
        ConfigError,
        DataError,
        ExportError,
        IncompatiblePartsError,
        MissingFieldError,
        ObjectPartWarning,
        RunError,
        RunStopped,
        UnknownName,
        VertebraError,
        WeightsError,
    )
    from vertebra.export.evaluate import evaluate
    from vertebra.export.export_model import export_model
    from vertebra.export.report import write_report
    from vertebra.features import Features, FeatureSpec, Frame, Level
    from vertebra.inference.cascade import Cascade
    from vertebra.inference.predictor import Predictor
    from vertebra.inference.results import Result
    from vertebra.loading import RuntimeModel, load
    from vertebra.model import VisionModel
    from vertebra.panoptic.types import PanopticPrediction
    from vertebra.parts import list_backbones, list_parts
    from vertebra.tasks.box_attributes.types import AttributePrediction
    from vertebra.tasks.classify.types import ClassifyPrediction
    from vertebra.tasks.detect.types import DetectPrediction
    from vertebra.tasks.instances.types import InstancePrediction
    from vertebra.tasks.keypoints.types import KeypointPrediction
    from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction
    from vertebra.tasks.segment.types import SegmentPrediction
    from vertebra.tracking.evaluate import evaluate_tracks
    from vertebra.tracking.tracker import Tracker
    from vertebra.training.run_list import RunSummary, list_runs
    from vertebra.weights.model_file import save

__version__ = "0.1.0"

_MODULES = {
    "vertebra.api": ("Model", "Run", "create_model", "import_model", "resume", "train"),
    "vertebra.backbones": ("as_backbone",),
    "vertebra.data.convert": ("convert_data",),
    "vertebra.errors": (
        "ConfigError",
        "DataError",
        "ExportError",
        "IncompatiblePartsError",
        "MissingFieldError",
        "ObjectPartWarning",
        "RunError",
        "RunStopped",
        "UnknownName",
        "VertebraError",
        "WeightsError",
    ),
    "vertebra.export.evaluate": ("evaluate",),
    "vertebra.export.export_model": ("export_model",),
    "vertebra.export.report": ("write_report",),
    "vertebra.features": ("Features", "FeatureSpec", "Frame", "Level"),
    "vertebra.inference.cascade": ("Cascade",),
    "vertebra.inference.predictor": ("Predictor",),
    "vertebra.inference.results": ("Result",),
    "vertebra.loading": ("RuntimeModel", "load"),
    "vertebra.model": ("VisionModel",),
    "vertebra.panoptic.types": ("PanopticPrediction",),
    "vertebra.parts": ("list_backbones", "list_parts"),
    "vertebra.tasks.box_attributes.types": ("AttributePrediction",),
    "vertebra.tasks.classify.types": ("ClassifyPrediction",),
    "vertebra.tasks.detect.types": ("DetectPrediction",),
    "vertebra.tasks.instances.types": ("InstancePrediction",),
    "vertebra.tasks.keypoints.types": ("KeypointPrediction",),
    "vertebra.tasks.rotated_boxes.types": ("RotatedBoxPrediction",),
    "vertebra.tasks.segment.types": ("SegmentPrediction",),
    "vertebra.tracking.evaluate": ("evaluate_tracks",),
    "vertebra.tracking.tracker": ("Tracker",),
    "vertebra.training.run_list": ("RunSummary", "list_runs"),
    "vertebra.weights.model_file": ("save",),
}
_HOMES = {name: module for module, names in _MODULES.items() for name in names}

__all__ = [
    "as_backbone",
    "AttributePrediction",
    "Cascade",
    "ClassifyPrediction",
    "ConfigError",
    "convert_data",
    "create_model",
    "DataError",
    "DetectPrediction",
    "evaluate",
    "evaluate_tracks",
    "export_model",
    "ExportError",
    "Features",
    "FeatureSpec",
    "Frame",
    "import_model",
    "IncompatiblePartsError",
    "InstancePrediction",
    "KeypointPrediction",
    "Level",
    "list_backbones",
    "list_parts",
    "list_runs",
    "load",
    "MissingFieldError",
    "Model",
    "ObjectPartWarning",
    "PanopticPrediction",
    "Predictor",
    "Result",
    "resume",
    "RotatedBoxPrediction",
    "Run",
    "RunError",
    "RunStopped",
    "RunSummary",
    "RuntimeModel",
    "save",
    "SegmentPrediction",
    "Tracker",
    "train",
    "UnknownName",
    "VertebraError",
    "VisionModel",
    "WeightsError",
    "write_report",
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
