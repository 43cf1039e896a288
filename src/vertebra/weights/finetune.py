"""Fine-tuning: training that starts from the weights of a trained model, except those that depend on its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vertebra.build import build
from vertebra.checkpoints import one_line
from vertebra.config import ModelConfig, model_config
from vertebra.errors import ConfigError, VertebraError, WeightsError
from vertebra.model import VisionModel
from vertebra.weights.header import read_header
from vertebra.weights.model_file import model_path, read

KINDS = ("kept", "cut", "new")


def finetune_config(source: str | Path, backbone: str | None = None) -> dict[str, Any]:
    """The ``model`` section of a model file's config, without its classes, which the training data defines.

    Args:
        source: the model file or run folder.
        backbone: another backbone, such as a narrower one of the same family; None for the file's.
    """
    path = model_path(source)
    header, _ = read_header(path)
    model = _model_of(header, path)
    branches = {
        name: {key: value for key, value in branch.items() if key != "classes"}
        for name, branch in model["branches"].items()
    }
    options = dict(model["backbone"])
    if backbone is not None and backbone != options["name"]:
        options = {"name": backbone, **{key: options[key] for key in ("in_channels",) if key in options}}
    return {**model, "backbone": {**options, "pretrained": False}, "branches": branches, "init_from": str(source)}


def init_from(model: VisionModel, config: ModelConfig) -> list[str]:
    """Loads the weights of ``config.init_from`` into a newly built model, where names and shapes match.

    Layers that depend on a branch's classes are loaded only if the branch has the same classes in the same order. A layer in
    front of the decoders that has fewer channels than in the file gets an even selection of them: Xu et al., Initializing
    Models with Larger Ones, ICLR 2024, arXiv 2311.18823.

    Returns:
        Lines for the log: how many tensors were loaded, and, unless it is all of them, part by part how many were kept, cut
        to fewer channels, and are newly initialized.

    Raises:
        ConfigError: the model file has another backbone, and less than half of this model's is loaded from it.
        WeightsError: no tensor matches.
    """
    path = model_path(str(config.init_from))
    header, tensors = read(path)
    source = _model_of(header, path)
    state = model.state_dict()
    new_classes = [
        name
        for name, branch in config.branches.items()
        if _classes(source, name) not in (None, list(branch.classes or []))
    ]
    reset = {name for branch in new_classes for name in _class_tensors(config, branch)}
    fitting = {name: value for name, value in tensors.items() if name in state and name not in reset}
    loaded = {name: value for name, value in fitting.items() if state[name].shape == value.shape}
    cut = {
        name: _cut(value, state[name].shape)
        for name, value in fitting.items()
        if name not in loaded and ".decoder." not in name and _is_narrower(state[name].shape, value.shape)
    }
    _check_backbone(source["backbone"]["name"], config.backbone.name, state, {*loaded, *cut}, path)
    if not any(value.ndim for value in (*loaded.values(), *cut.values())):
        raise WeightsError(f"{path}: none of its {len(tensors)} tensors fits this model")
    model.load_state_dict({**state, **loaded, **cut})
    model.origin = dict(header.get("origin", {}))
    kinds = {name: "kept" if name in loaded else "cut" if name in cut else "new" for name in state}
    cut_words = f", {len(cut)} of them cut to fewer channels" if cut else ""
    lines = [f"start: {len(loaded) + len(cut)} of {len(state)} tensors from {path}{cut_words}"]
    if set(kinds.values()) != {"kept"}:
        lines += [f"start: {line}" for line in _lines_by_part(kinds, config)]
    left_out = Counter(_part(name, config) for name in tensors if name not in state)
    if left_out:
        listed = ", ".join(f"{part} ({count})" for part, count in left_out.items())
        lines.append(f"start: not in this model, so left out: tensors of {listed}")
    return lines


def _is_narrower(narrow: torch.Size, wide: torch.Size) -> bool:
    return len(narrow) == len(wide) and all(few <= many for few, many in zip(narrow, wide, strict=True))


def _cut(value: Tensor, shape: torch.Size) -> Tensor:
    """An even selection of channels along each axis; axes of the same length select the same channels."""
    for axis, (few, many) in enumerate(zip(shape, value.shape, strict=True)):
        if few < many:
            value = value.index_select(axis, torch.arange(few) * many // few)
    return value


def _check_backbone(theirs: str, ours: str, state: Mapping[str, Tensor], loaded: Set[str], path: Path) -> None:
    """Checks that another backbone gets at least half of its tensors from the file.

    Raises:
        ConfigError: it does not.
    """
    weights = [name for name, value in state.items() if name.startswith("backbone.") and value.ndim]
    count = sum(name in loaded for name in weights)
    if theirs != ours and 2 * count < len(weights):
        raise ConfigError(
            f"{path} has the backbone '{theirs}', and this model '{ours}', of whose {len(weights)} tensors {count} fit; use the "
            "same one, or a narrower one of its family"
        )


def _part(name: str, config: ModelConfig) -> str:
    """The path of the part that a tensor belongs to, as in a config: "backbone", "shared.neck", "branches.boxes.decoder"."""
    names = name.split(".")
    if names[0] == "shared":
        kinds = [kind for kind in ("neck", "encoder") if getattr(config.shared, kind) is not None]
        number = int(names[1])
        return f"shared.{kinds[number] if number < len(kinds) else number}"
    return ".".join(names[: 3 if names[0] == "branches" else 1])


def _lines_by_part(kinds: Mapping[str, str], config: ModelConfig) -> list[str]:
    """For each part, how many of its tensors were kept, cut and are new, and the layers of the new ones."""
    parts: dict[str, dict[str, list[str]]] = {}
    for name, kind in kinds.items():
        parts.setdefault(_part(name, config), {kind: [] for kind in KINDS})[kind].append(name)
    words = {"kept": "kept", "cut": "cut to fewer channels", "new": "newly initialized"}
    lines = []
    for part, names in parts.items():
        counts = [f"{len(names[kind])} {words[kind]}" for kind in KINDS if names[kind]]
        layers = list(dict.fromkeys(name.removeprefix(f"{part}.").rpartition(".")[0] for name in names["new"]))
        listed = f" ({', '.join(layers[:4])}{' …' if len(layers) > 4 else ''})" if layers else ""
        lines.append(f"{part}: {', '.join(counts)}{listed}")
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
