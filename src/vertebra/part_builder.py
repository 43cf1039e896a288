"""Builds necks, encoders and decoders on a backbone, each for the features of the part before it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import nn

from vertebra.config import BranchConfig, ModelConfig, PartConfig, check_labels
from vertebra.config_short_forms import served_task
from vertebra.decoders.base import Decoder
from vertebra.errors import ConfigError, IncompatiblePartsError, UnknownName, VertebraError, shortened
from vertebra.features import FeatureSpec
from vertebra.model import Branch
from vertebra.parts import check_options, describe, describe_class, find
from vertebra.required_levels import required_levels, takes_levels
from vertebra.tasks import get_task
from vertebra.tasks.base import LabelSpec

MAX_BYTE_CLASSES = 255  # up to this many classes leave 255 free, the usual value of mask pixels that do not count


@dataclass
class BuildState:
    """State of the builder.

    Attributes:
        spec: the features that the next part is built for.
        previous_part: the kind and name of the part that outputs them, for messages.
        objects: parts given as objects, by path.
        built: the parts that callables among these returned, by path.
        keep_levels: the levels of each neck and encoder that later parts read, by path; None in the first build, which determines
            them.
        specs: the output of each part with all of its levels, by path.
        device: the device of parts that are built by a callable.
    """

    spec: FeatureSpec
    previous_part: str
    objects: Mapping[str, Any] = field(default_factory=dict)
    built: dict[str, Any] = field(default_factory=dict)
    keep_levels: Mapping[str, Sequence[int]] | None = None
    specs: dict[str, FeatureSpec] = field(default_factory=dict)
    device: torch.device = field(default_factory=torch.get_default_device)


def build_parts(
    state: BuildState, config: ModelConfig, tasks: Mapping[str, str]
) -> tuple[list[nn.Module], dict[str, Branch]]:
    """The shared parts, and the branches by name.

    Where a part has the argument ``keep_levels``, all parts are first built on the meta device to determine which levels are
    read: a decoder selects its levels from the output of the parts before it.
    """
    if not _any_takes_levels(config, state.objects):
        return _assemble(replace(state, keep_levels={}), config, tasks)
    with torch.device("meta"):
        shared, branches = _assemble(replace(state), config, tasks)
    kinds = [kind for kind in ("neck", "encoder") if getattr(config.shared, kind) is not None]
    keep_levels = required_levels(dict(zip(kinds, shared, strict=True)), branches)
    return _assemble(replace(state, keep_levels=keep_levels), config, tasks)


def _any_takes_levels(config: ModelConfig, objects: Mapping[str, Any]) -> bool:
    """Whether any neck or encoder has the argument ``keep_levels``."""
    parts = [(f"shared.{kind}", kind, getattr(config.shared, kind)) for kind in ("neck", "encoder")]
    for name, branch in config.branches.items():
        parts += [(f"branches.{name}.{kind}", kind, getattr(branch, kind)) for kind in ("neck", "encoder")]
    return any(
        takes_levels(objects[path] if path in objects else find(kind, part.name))
        for path, kind, part in parts
        if part is not None and not isinstance(objects.get(path), nn.Module)
    )


def _assemble(
    state: BuildState, config: ModelConfig, tasks: Mapping[str, str]
) -> tuple[list[nn.Module], dict[str, Branch]]:
    """The shared parts and the branches, built once; a branch that reads boxes is built after the branch that has them."""
    shared: list[nn.Module] = []
    for kind in ("neck", "encoder"):
        part = getattr(config.shared, kind)
        if part is not None:
            shared.append(_part(state, kind, part, f"shared.{kind}"))
    branches: dict[str, Branch] = {}
    for name in branch_order(config.branches):
        branches[name] = _branch(replace(state), name, config.branches[name], tasks[name], branches)
    _check_box_sources(branches)
    return shared, branches


def _branch(state: BuildState, name: str, config: BranchConfig, task: str, previous: Mapping[str, Branch]) -> Branch:
    path = f"branches.{name}"
    if config.neck is not None or config.encoder is not None:
        # behind a neck or an encoder, a decoder reads its maps and not the backbone's embedding
        state.spec = replace(state.spec, embedding=None)
    neck = None if config.neck is None else _part(state, "neck", _neck_config(state, config, path), f"{path}.neck")
    encoder = None if config.encoder is None else _part(state, "encoder", config.encoder, f"{path}.encoder")
    _check_task(name, task, state.objects.get(f"{path}.decoder"), config.decoder.name)
    labels = label_spec(name, task, config)
    if config.boxes_from is not None:
        labels = labels.on_boxes_of(previous[config.boxes_from].labels, name)
    decoder = _part(state, "decoder", _decoder_config(state, config, path), f"{path}.decoder", labels)
    if not isinstance(decoder, Decoder):
        raise ConfigError(
            f"branch '{name}': the decoder {type(decoder).__name__} is no vertebra.decoders.base.Decoder; derive it from "
            "that class"
        )
    if decoder.labels.classes != labels.classes:
        raise ConfigError(
            f"branch '{name}': the decoder was built for the classes {', '.join(decoder.labels.classes)}, and the branch has "
            f"{', '.join(labels.classes)}; give the same ones"
        )
    if config.boxes_from is not None and decoder.needs != "boxes":
        cure = "build it with on_boxes=True" if _can_read_boxes(type(decoder)) else _box_cure(decoder.task)
        raise ConfigError(f"branch '{name}': decoder '{config.decoder.short_name}' reads no boxes; {cure}")
    if decoder.needs == "boxes" and config.boxes_from is None:
        raise ConfigError(
            f"branch '{name}': decoder '{config.decoder.short_name}' reads boxes; name the branch that has them: boxes_from: NAME"
        )
    return Branch(decoder, neck=neck, encoder=encoder, weight=config.weight, boxes_from=config.boxes_from)


def _decoder_config(state: BuildState, config: BranchConfig, path: str) -> PartConfig:
    """The config of a branch's decoder; ``on_boxes`` is set where the branch has ``boxes_from`` and the decoder has the option."""
    if config.boxes_from is None or f"{path}.decoder" in state.objects:
        return config.decoder
    if not _can_read_boxes(find("decoder", config.decoder.name)):
        return config.decoder
    return PartConfig(name=config.decoder.name, **{"on_boxes": True, **config.decoder.options})


def _box_cure(task: str) -> str:
    """What to do about a decoder of a task that reads no boxes."""
    on_boxes = get_task(task).on_boxes
    named = (
        "" if on_boxes is None else f", or take the decoder '{get_task(on_boxes).default_parts['decoder']}', which does"
    )
    return f"leave 'boxes_from' out{named}"


def _can_read_boxes(decoder: type[Any]) -> bool:
    return any(option.name == "on_boxes" for option in describe_class("decoder", "", decoder).options)


def _check_box_sources(branches: Mapping[str, Branch]) -> None:
    """Checks that a branch with ``boxes_from`` names a branch that has boxes, and at least one of the same classes."""
    for name, branch in branches.items():
        if branch.boxes_from is None:
            continue
        source = branches[branch.boxes_from]
        if not get_task(source.task).has_boxes:
            raise ConfigError(
                f"branch '{name}' reads boxes, but '{branch.boxes_from}' is for {source.task} and has none"
            )
        if get_task(branch.task).of_boxes:
            _check_attribute(name, branches)
            continue
        source_classes, classes = source.labels.classes, branch.labels.classes
        if not set(source_classes) & set(classes):
            raise ConfigError(
                f"branch '{name}' reads the boxes of '{branch.boxes_from}', which finds none of its classes "
                f"({', '.join(classes)}), but {', '.join(source_classes)}; give them the same names"
            )


def _check_attribute(name: str, branches: Mapping[str, Branch]) -> None:
    """Checks that no earlier branch has the same attribute of the same boxes."""
    branch = branches[name]
    for other_name, other in branches.items():
        if other_name == name:
            return
        same = getattr(other.labels, "attribute", None) == getattr(branch.labels, "attribute", "")
        if same and other.boxes_from == branch.boxes_from:
            raise ConfigError(
                f"branches '{other_name}' and '{name}' have the same attribute of the boxes of '{branch.boxes_from}'; leave one "
                "out, or name their attributes: attribute: NAME"
            )


def _neck_config(state: BuildState, config: BranchConfig, path: str) -> PartConfig:
    """The config of a branch's neck, with its decoder's ``neck_defaults`` for options that the neck has and the user left out.

    They are not used where an encoder is between the two.
    """
    assert config.neck is not None
    if config.encoder is not None or f"{path}.neck" in state.objects:
        return config.neck
    decoder = state.objects.get(f"{path}.decoder") or find("decoder", config.decoder.name)
    known = {option.name for option in describe("neck", config.neck.name).options}
    defaults = {name: value for name, value in getattr(decoder, "neck_defaults", {}).items() if name in known}
    return PartConfig(name=config.neck.name, **{**defaults, **config.neck.options})


def _check_task(name: str, task: str, part_object: Any, decoder: str) -> None:
    served = (served_task(part_object) or task) if part_object is not None else find("decoder", decoder).task
    if served != task:
        raise ConfigError(
            f"branch '{name}': decoder '{decoder}' serves task '{served}', but the branch's task is '{task}'"
        )


def label_spec(name: str, task: str, config: BranchConfig) -> LabelSpec:
    """The label specification of a branch."""
    if config.classes is None:
        raise ConfigError(f"branch '{name}' needs its class names: classes=[...]")
    check_labels(name, config, task)
    kind = get_task(task).labels
    known = {entry.name for entry in fields(kind)}
    if "multilabel" not in known and config.multilabel:
        raise ConfigError(f"branch '{name}': 'multilabel' has no effect for task '{task}'; leave it out")
    extra: dict[str, Any] = {"multilabel": config.multilabel} if "multilabel" in known else {}
    if "ignore_index" in known and len(config.classes) > MAX_BYTE_CLASSES:
        extra["ignore_index"] = 2**16 - 1
    for key, value in config.label_fields.items():
        if isinstance(value, list):
            value = tuple(tuple(entry) if isinstance(entry, list) else entry for entry in value)
        extra[key] = value
    return kind(classes=tuple(config.classes), **{**kind.implied(extra), **extra})


def _part(state: BuildState, kind: str, config: PartConfig, path: str, labels: LabelSpec | None = None) -> nn.Module:
    """Builds one part, and sets the state to its output."""
    part_object = state.objects.get(path)
    arguments = (state.spec,) if labels is None else (state.spec, labels)
    try:
        if isinstance(part_object, nn.Module):
            part = part_object
        elif part_object is not None:
            part = _built(state, part_object, arguments, path)
        else:
            kind_class = find(kind, config.name)
            options = check_options(kind_class, config.options, f"model.{path}")
            part = kind_class(*arguments, **options, **_level_argument(state, kind_class, path))
    except IncompatiblePartsError as error:
        raise error.between(f"{kind} '{config.short_name}'", state.previous_part, state.spec.describe()) from None
    except VertebraError:
        raise
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        if part_object is not None:
            raise  # a user's part: keep the traceback
        reason = shortened(str(error) or type(error).__name__, 160)
        raise ConfigError(
            f"model.{path}: {kind} '{config.short_name}' cannot be built with {config.options}: {reason}"
        ) from error
    if labels is None:
        spec = getattr(part, "out_spec", None)
        if not isinstance(spec, FeatureSpec):
            raise ConfigError(
                f"model.{path}: {type(part).__name__} has no out_spec; a {kind} sets it to the FeatureSpec of its output"
            )
        state.spec = state.specs.setdefault(path, spec)
        state.previous_part = f"{kind} '{config.short_name}'"
    module: nn.Module = part
    return module


def _level_argument(state: BuildState, build: Callable[..., Any], path: str) -> dict[str, Any]:
    """The argument ``keep_levels`` of a part, where the levels that are read are known and the part has the argument."""
    known = state.keep_levels is not None and path in state.keep_levels and takes_levels(build)
    return {"keep_levels": state.keep_levels[path]} if known and state.keep_levels is not None else {}


def _built(state: BuildState, build: Callable[..., Any], arguments: tuple[Any, ...], path: str) -> Any:
    """The part that a user's callable returns.

    A callable with the argument ``keep_levels`` is called again when the levels are known, as parts by name are built again;
    any other is called once, on the user's device.
    """
    if takes_levels(build):
        return build(*arguments, **_level_argument(state, build, path))
    if path not in state.built:
        with state.device:
            state.built[path] = build(*arguments)
    return state.built[path]


def branch_order(branches: Mapping[str, BranchConfig]) -> list[str]:
    """Branch names, each after the one whose boxes it reads."""
    order: list[str] = []
    waiting = list(branches)
    while waiting:
        ready = [name for name in waiting if branches[name].boxes_from is None or branches[name].boxes_from in order]
        if not ready:
            name = waiting[0]
            target = branches[name].boxes_from
            if target not in branches:
                raise UnknownName(f"branch in 'boxes_from' of branch '{name}':", str(target), branches)
            raise ConfigError(f"branches read each other's boxes in a circle: {', '.join(waiting)}")
        order += ready
        waiting = [name for name in waiting if name not in ready]
    return order
