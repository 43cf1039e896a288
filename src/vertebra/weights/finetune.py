"""Fine-tuning: training that starts from the weights of a trained model, except those that depend on its classes."""

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
    """The ``model`` section of a model file's config, without its classes, which the training data defines."""
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
    """Loads the weights of ``config.init_from`` into a newly built model, where names and shapes match.

    Layers that depend on a branch's classes are loaded only if the branch has the same classes in the same order.

    Returns:
        Lines for the log: which tensors were loaded, and which layers are newly initialized.

    Raises:
        ConfigError: the model file has another backbone.
        WeightsError: no tensor matches.
    """
    path = model_path(str(config.init_from))
    header, tensors = read(path)
    source = _model_of(header, path)
    if source["backbone"]["name"] != config.backbone.name:
        raise ConfigError(
            f"{path} has the backbone '{source['backbone']['name']}', and this model '{config.backbone.name}'; use the same one"
        )
    state = model.state_dict()
    new_classes = [
        name
        for name, branch in config.branches.items()
        if _classes(source, name) not in (None, list(branch.classes or []))
    ]
    reset = {name for branch in new_classes for name in _class_tensors(config, branch)}
    loaded = {
        name: value
        for name, value in tensors.items()
        if name in state and state[name].shape == value.shape and name not in reset
    }
    if not any(value.ndim for value in loaded.values()):
        raise WeightsError(f"{path}: none of its {len(tensors)} tensors fits this model")
    model.load_state_dict({**state, **loaded})
    model.origin = dict(header.get("origin", {}))
    new_layers = sorted({name.rpartition(".")[0] for name in state if name not in loaded and state[name].ndim})
    lines = [f"start: {len(loaded)} of {len(state)} tensors from {path}"]
    if new_layers:
        lines.append(f"start: newly initialized: {', '.join(new_layers[:6])}{' …' if len(new_layers) > 6 else ''}")
    return lines


def _model_of(header: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The config of a model file, validated, with all defaults filled in.

    Raises:
        WeightsError: the header describes no model.
    """
    try:
        return model_config(header["model"], f"{path}: model").model_dump(mode="json")
    except VertebraError as error:
        raise WeightsError(f"{path}: its header describes no model: {one_line(error, 800)}") from None


def _classes(source: dict[str, Any], branch: str) -> list[str] | None:
    config = source["branches"].get(branch)
    return None if config is None else list(config["classes"] or [])


def _class_tensors(config: ModelConfig, branch: str) -> list[str]:
    """Names of the tensors whose shape depends on the number of classes of a branch."""
    more = config.model_copy(deep=True)
    more.branches[branch].classes = [*(more.branches[branch].classes or []), "one more class, to compare the shapes"]
    with torch.device("meta"):
        first, second = (build(variant, pretrained=False).state_dict() for variant in (config, more))
    return [name for name in first if first[name].shape != second[name].shape]
