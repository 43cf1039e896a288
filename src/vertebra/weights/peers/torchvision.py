"""All supported torchvision models, by name."""

from __future__ import annotations

import inspect
import warnings
from typing import Any

import torch
import torchvision
from torch import Tensor

from vertebra.weights.peers import (
    torchvision_classify,
    torchvision_detection,
    torchvision_instances,
    torchvision_segmentation,
    torchvision_ssd,
)
from vertebra.weights.peers.base import TorchvisionBuilder


def builders() -> dict[str, TorchvisionBuilder]:
    """By the name of torchvision's builder, the function that makes a `PeerModel` from its weights."""
    return {
        **torchvision_classify.BUILDERS,
        **torchvision_detection.BUILDERS,
        **torchvision_instances.BUILDERS,
        **torchvision_segmentation.BUILDERS,
        **torchvision_ssd.BUILDERS,
    }


def expected_tensors(name: str) -> dict[str, Tensor]:
    """Names and shapes of a torchvision model's tensors, without their values."""
    build: Any = torchvision.models.get_model_builder(name)
    parts = {"weights_backbone": None} if "weights_backbone" in inspect.signature(build).parameters else {}
    with torch.device("meta"), warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # about Inception's random initialization
        state: dict[str, Tensor] = build(weights=None, **parts).state_dict()
    return state
