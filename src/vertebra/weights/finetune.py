"""Training that starts from a trained model: all of its weights but those that depend on its classes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from vertebra.build import build
from vertebra.checkpoints import one_line
from vertebra.config import ModelConfig, model_config
from vertebra.errors import ConfigError, VertebraError, WeightsError
from vertebra.model import VisionModel
from vertebra.weights.header import read_header
from vertebra.weights.model_file import model_path, read


def finetune_config(source: str | Path) -> dict[str, Any]:
    """The config of a model file, under ``model``, for training on other data: classes are left to the data."""
    path = model_path(source)
    header, _ = read_header(path)
    model = _model_of(header, path)
    branches = {
        name: {key: value for key, value in branch.items() if key != "classes"}
        for name, branch in model["branches"].items()
    }
    backbone = {**model["backbone"], "pretrained": False}
    return {**model, "backbone": backbone, "branches": branches, "init_from": str(source)}


def init_from(model: VisionModel, config: ModelConfig) -> list[str]:
    """Puts the weights of ``config.init_from`` into a freshly built model, where they fit.

    The layers that depend on a branch's classes are kept only if that branch has the same classes in the same order.

    Returns:
        What was kept and what starts anew, in words.

    Raises:
        ConfigError: the model has another backbone, so that hardly anything would fit.
        WeightsError: nothing fits.
    """
    path = model_path(str(config.init_from))
    header, tensors = read(path)
    old = _model_of(header, path)
    if old["backbone"]["name"] != config.backbone.name:
        raise ConfigError(
            f"{path} has the backbone '{old['backbone']['name']}', and this model '{config.backbone.name}'; take the same one"
        )
    own = model.state_dict()
    new_classes = [
        name
        for name, branch in config.branches.items()
        if _classes(old, name) not in (None, list(branch.classes or []))
    ]
    anew = {name for branch in new_classes for name in _of_classes(config, branch)}
    kept = {
        name: value
        for name, value in tensors.items()
        if name in own and own[name].shape == value.shape and name not in anew
    }
    if not any(value.ndim for value in kept.values()):
        raise WeightsError(f"{path}: none of its {len(tensors)} tensors fits this model")
    model.load_state_dict({**own, **kept})
    model.origin = dict(header.get("origin", {}))
    fresh = sorted({name.rpartition(".")[0] for name in own if name not in kept and own[name].ndim})
    lines = [f"start: {len(kept)} of {len(own)} tensors from {path}"]
    if fresh:
        lines.append(f"start: anew begin {', '.join(fresh[:6])}{' …' if len(fresh) > 6 else ''}")
    return lines


def _model_of(header: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The config of a model file, checked and with everything written out.

    Raises:
        WeightsError: the header describes no model.
    """
    try:
        return model_config(header["model"], f"{path}: model").model_dump(mode="json")
    except VertebraError as error:
        raise WeightsError(f"{path}: its header describes no model: {one_line(error, 800)}") from None


def _classes(old: dict[str, Any], branch: str) -> list[str] | None:
    found = old["branches"].get(branch)
    return None if found is None else list(found["classes"] or [])


def _of_classes(config: ModelConfig, branch: str) -> list[str]:
    """Names of the tensors of a branch whose shape depends on how many classes it has."""
    more = config.model_copy(deep=True)
    more.branches[branch].classes = [*(more.branches[branch].classes or []), "one more class of that name there is not"]
    with torch.device("meta"):
        first, second = (build(each, pretrained=False).state_dict() for each in (config, more))
    return [name for name in first if first[name].shape != second[name].shape]
