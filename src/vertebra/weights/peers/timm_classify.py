"""timm's classifiers as Vertebra models."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any, cast

import timm
import torch
from torch import Tensor

from vertebra.backbones.catalog import check_name
from vertebra.errors import WeightsError
from vertebra.preprocess.image_transform import Mode, ResizeSpec
from vertebra.weights.peers.base import PeerModel, State

MODES = {"center": "center_crop", "squash": "resize", "border": "letterbox"}
LABELS = {1000: "imagenet-1k", 11821: "imagenet-12k", 21841: "imagenet-22k", 21843: "imagenet-21k-goog"}


def classifier(name: str, state: Mapping[str, Tensor]) -> PeerModel:
    """A timm model with its own classifier.

    timm resizes images bicubically for most of its models; Vertebra always resizes bilinearly.

    Args:
        name: with or without a tag of weights; the tag determines the preprocessing.
        state: with timm's parameter names.

    Raises:
        UnknownName: timm has no such model.
        WeightsError: the file has no classifier, or several.
    """
    check_name(name)
    with torch.device("meta"):
        config: dict[str, Any] = timm.create_model(name, pretrained=False).pretrained_cfg
    layer = config.get("classifier")
    weight = state.get(f"{layer}.weight") if isinstance(layer, str) else None
    if weight is None:
        raise WeightsError(
            f"timm:{name}: no single classifier '{layer}' in the weights; for the backbone alone give the file with "
            "pretrained: FILE"
        )
    head = "branches.classify.decoder.classifier."
    tensors: State = {}
    for key, value in state.items():
        if key.startswith(f"{layer}."):
            tensors[head + key.removeprefix(f"{layer}.")] = value.flatten(1) if value.ndim == 4 else value
        else:
            tensors[f"backbone.body.{key}"] = value
    if f"{head}bias" not in tensors:
        tensors[f"{head}bias"] = weight.new_zeros(len(weight))
    model = {
        "backbone": {"name": name},
        "branches": {"classify": {"decoder": {"name": "linear"}, "classes": class_names(len(weight))}},
    }
    return PeerModel(
        model, classify_resize_spec(config), tensors, license=str(config.get("license") or "as timm states it")
    )


def expected_tensors(name: str) -> dict[str, Tensor]:
    """Names and shapes of a timm model's tensors, without their values."""
    with torch.device("meta"):
        state: dict[str, Tensor] = timm.create_model(name, pretrained=False).state_dict()
    return state


def classify_resize_spec(config: Mapping[str, Any]) -> ResizeSpec:
    """The resizing to the canvas in a timm configuration."""
    size = (int(config["input_size"][1]), int(config["input_size"][2]))
    mode = cast(Mode, MODES[config.get("crop_mode") or "center"])
    return ResizeSpec(size, mode, crop=float(config.get("crop_pct") or 1.0) if mode == "center_crop" else 1.0)


def class_names(count: int) -> list[str]:
    """ImageNet's class names if the count is that of an ImageNet version, else ``class_0`` …; all are unique."""
    if count not in LABELS:
        return [f"class_{number}" for number in range(count)]
    info = timm.data.ImageNetInfo(LABELS[count])
    names = [info.index_to_description(number).split(",")[0] for number in range(count)]
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name} ({info.index_to_label_name(number)})"
        for number, name in enumerate(names)
    ]
