"""From names and config to a model: builds the parts in order, each on what the one before it promises."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any, cast

import torch
from torch import nn

from vertebra.config import (
    BranchConfig,
    ModelConfig,
    PartConfig,
    check_labels,
    expand_model,
    model_config,
    task_of_object,
)
from vertebra.decoders.base import Decoder
from vertebra.errors import ConfigError, IncompatiblePartsError, UnknownName, VertebraError, shortened
from vertebra.features import FeatureSpec
from vertebra.keywords import strict_keywords
from vertebra.model import Branch, VisionModel
from vertebra.object_parts import check_objects, take_objects, warn_of_objects
from vertebra.parts import check_options, describe, describe_class, find
from vertebra.preprocess.image_transform import Mode, ResizeSpec
from vertebra.required_levels import required_levels, takes_levels
from vertebra.tasks import all_image_level, get_task
from vertebra.tasks.base import LabelSpec

Part = str | Mapping[str, Any] | PartConfig | nn.Module | Callable[..., nn.Module]
"""A part by name, by name with options, or as an object: a module, or a callable that is given the incoming spec."""

LONGEST = 1 << 16  # pixels of a side of a canvas
BYTE = 255  # classes up to this many leave 255 free, which masks commonly have for pixels that do not count


@dataclass
class _Place:
    """State of the builder.

    Attributes:
        spec: what the next part is built on.
        giver: the name of the part that gives it.
        objects: parts given as objects, by path.
        built: what callables among these have built, by path.
        keep: the levels that are read of a neck or encoder, by path; None in the first build, which finds them out.
        specs: what each part gives with all of its levels, by path.
        device: of parts that are built by a callable.
    """

    spec: FeatureSpec
    giver: str
    objects: Mapping[str, Any] = field(default_factory=dict)
    built: dict[str, Any] = field(default_factory=dict)
    keep: Mapping[str, Sequence[int]] | None = None
    specs: dict[str, FeatureSpec] = field(default_factory=dict)
    device: torch.device = field(default_factory=torch.get_default_device)


@strict_keywords
def create_model(
    backbone: Part,
    *,
    decoder: Part | None = None,
    neck: Part | None = None,
    encoder: Part | None = None,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    exclusive: bool = True,
    labels: Mapping[str, Any] | None = None,
    branches: Mapping[str, Mapping[str, Any]] | None = None,
    shared: Mapping[str, Part] | None = None,
    image_size: int | Sequence[int] | None = None,
    resize: str | None = None,
) -> VisionModel:
    """Builds a model out of parts.

    One branch is given by ``decoder`` (with ``neck``, ``encoder``, ``classes``); several by ``branches``, a mapping from
    the branch's name to its parts and classes. Part names and options: ``vertebra parts``.

    Args:
        backbone: a timm model's name, or a mapping with ``name`` and options, or an object (`vertebra.as_backbone`).
        exclusive: softmax over classes (True) or a sigmoid for each (False).
        labels: what else the task's labels have; for keypoints ``points``, ``skeleton``, ``flip_pairs``, ``sigmas``.
        shared: ``neck`` and ``encoder`` before the fork.
        image_size: (height, width) of the canvas in pixels, or one number for both; by default 224 where all branches
            classify, else 512.
        resize: "letterbox", "resize" or "center_crop"; by default center_crop where all branches classify, else letterbox.

    Raises:
        ConfigError: an unknown name or a wrong option.
        ObjectPartWarning: some parts were given as objects, which files of the model do not hold.
        IncompatiblePartsError: two parts that do not fit; the message names both and the way out.
    """
    raw: dict[str, Any] = {"backbone": backbone, "shared": dict(shared or {})}
    if branches is not None:
        raw["branches"] = {name: dict(branch) for name, branch in branches.items()}
    single = {"decoder": decoder, "neck": neck, "encoder": encoder, "classes": classes, "task": task}
    raw.update({name: value for name, value in single.items() if value is not None})
    if not exclusive:
        raw["exclusive"] = False
    raw.update(labels or {})
    raw = expand_model(raw, "model")
    _check_classes(raw)
    objects = take_objects(raw)
    config = model_config(raw)
    model = build(config, image_size=image_size, resize=resize, objects=objects)
    warn_of_objects(config, stacklevel=4)
    return model


def _check_classes(raw: Mapping[str, Any]) -> None:
    """Checks that classes are lists; a text is a sequence too."""
    for branch in raw.get("branches", {}).values():
        classes = branch.get("classes")
        if isinstance(classes, str):
            raise ConfigError(f"classes must be a list of names, got the text '{classes}'")
        if classes is not None:
            branch["classes"] = list(classes)


def build(
    config: ModelConfig,
    *,
    image_size: int | Sequence[int] | None = None,
    resize: str | None = None,
    objects: Mapping[str, Any] | None = None,
    pretrained: bool = True,
) -> VisionModel:
    """Builds a model from its config.

    Args:
        objects: the parts that are objects, by path ("branches.boxes.neck"); see `vertebra.object_parts`.
        pretrained: False builds without reading the backbone's pretrained weights (they are loaded afterwards).
    """
    from vertebra.backbones.base import Backbone

    objects = objects or {}
    check_objects(config, objects)
    tasks = {name: _task(branch) for name, branch in config.branches.items()}
    _check_names(tasks)
    size = canvas_size(image_size, tasks.values())
    resize_spec = ResizeSpec(size, cast(Mode, resize or default_resize(tasks.values())))
    if resize_spec.mode == "center_crop" and not all_image_level(tasks.values()):
        raise ConfigError(
            "resize 'center_crop' leaves out an image's rim; only tasks about the image as a whole allow that. Take letterbox"
        )
    backbone = objects.get("backbone")
    if backbone is None:
        backbone = _backbone(config.backbone, size, pretrained)
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"the backbone {type(backbone).__name__} is no vertebra.backbones.Backbone, so its levels are not known; "
            "wrap it: vertebra.as_backbone(module, spec)"
        )
    fixed = backbone.fixed_size
    if fixed is not None and any(want > have for want, have in zip(size, fixed, strict=True)):
        raise ConfigError(
            f"backbone '{config.backbone.name}' is built for {fixed[0]}x{fixed[1]}, got a canvas of {size[0]}x{size[1]}; "
            f"set image_size to {fixed[0]}x{fixed[1]}"
        )
    reason = f" ({backbone.refusal})" if backbone.refusal else ""
    place = _Place(backbone.out_spec, f"backbone '{config.backbone.name}'{reason}", objects)
    shared, branches = _parts(place, config, tasks)
    decoders = [branch.decoder for branch in branches.values()]
    backbone = backbone.with_required_outputs(
        embedding=any(decoder.uses_embedding for decoder in decoders),
        maps=bool(shared) or any(decoder.uses_maps for decoder in decoders),
    )
    model = VisionModel(backbone, branches, resize_spec, shared=shared, config=_portable(config))
    model.origin = dict(backbone.weights_from)
    return model


def _parts(place: _Place, config: ModelConfig, tasks: Mapping[str, str]) -> tuple[list[nn.Module], dict[str, Branch]]:
    """What stands on the backbone. Where a part can leave out levels, all is built on the meta device first, to find out
    which levels are read: a decoder chooses its levels by what the parts before it give."""
    if not _can_leave_out(config, place.objects):
        return _build_parts(replace(place, keep={}), config, tasks)
    with torch.device("meta"):
        shared, branches = _build_parts(replace(place), config, tasks)
    neck_alone = config.shared.neck is not None and config.shared.encoder is None
    keep = required_levels(shared, "shared.neck" if neck_alone else None, branches)
    return _build_parts(replace(place, keep=keep), config, tasks)


def _can_leave_out(config: ModelConfig, objects: Mapping[str, Any]) -> bool:
    """Whether any neck or encoder has the argument ``keep_levels``."""
    parts = [(f"shared.{kind}", kind, getattr(config.shared, kind)) for kind in ("neck", "encoder")]
    for name, branch in config.branches.items():
        parts += [(f"branches.{name}.{kind}", kind, getattr(branch, kind)) for kind in ("neck", "encoder")]
    return any(
        takes_levels(objects[path] if path in objects else find(kind, part.name))
        for path, kind, part in parts
        if part is not None and not isinstance(objects.get(path), nn.Module)
    )


def _build_parts(
    place: _Place, config: ModelConfig, tasks: Mapping[str, str]
) -> tuple[list[nn.Module], dict[str, Branch]]:
    """What stands before the fork, and the branches, in an order in which none reads the boxes of a later one."""
    shared: list[nn.Module] = []
    for kind in ("neck", "encoder"):
        part = getattr(config.shared, kind)
        if part is not None:
            shared.append(_part(place, kind, part, f"shared.{kind}"))
    branches = {
        name: _branch(replace(place), name, config.branches[name], tasks[name]) for name in _ordered(config.branches)
    }
    _check_regions(branches)
    return shared, branches


def _portable(config: ModelConfig) -> dict[str, Any]:
    """A config as it is kept with the model and in its files: weights' files by name, without their places."""
    plain = config.model_dump(mode="json")
    plain["init_from"] = None
    plain["backbone"] = {key: _without_places(value, key) for key, value in plain["backbone"].items()}
    return plain


def _without_places(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_places(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_places(inner) for inner in value]
    if isinstance(value, str) and (key == "pretrained" or re.match(r"/|~|[A-Za-z]:[\\/]", value)):
        return re.split(r"[\\/]", value)[-1]
    return value


def _check_names(branches: Iterable[str]) -> None:
    """A branch's name is a module's name, a key of a prediction, and the first part of ``branch/metric``."""
    for name in branches:
        taken = hasattr(nn.ModuleDict(), name) or name in ("image", "height", "width", "frame", "time")
        if taken or not re.fullmatch(r"[^\W\d][\w-]*", name):
            raise ConfigError(
                f"'{name}' cannot be a branch's name"
                + (
                    f" (it has a meaning of its own); '{name}_branch' could"
                    if taken
                    else "; take letters, digits, _ and -"
                )
            )


def _backbone(config: PartConfig, size: tuple[int, int], pretrained: bool) -> Any:
    from vertebra.backbones import BACKBONES, TimmBackbone

    kind: Any = BACKBONES.get(config.name, TimmBackbone)
    options = check_options(kind, config.options, "model.backbone")
    options.setdefault("image_size", size)
    if not pretrained:
        options["pretrained"] = False
    return kind(config.name, **options)


def _task(branch: BranchConfig) -> str:
    if branch.task is None:
        return str(find("decoder", branch.decoder.name).task)
    get_task(branch.task)
    return branch.task


def _branch(place: _Place, name: str, config: BranchConfig, task: str) -> Branch:
    path = f"branches.{name}"
    if config.neck is not None or config.encoder is not None:
        # whoever puts a neck or an encoder before a decoder wants its maps read, not the backbone's own embedding
        place.spec = replace(place.spec, embedding=None)
    neck = None if config.neck is None else _part(place, "neck", _neck_config(place, config, path), f"{path}.neck")
    encoder = None if config.encoder is None else _part(place, "encoder", config.encoder, f"{path}.encoder")
    _check_task(name, task, place.objects.get(f"{path}.decoder"), config.decoder.name)
    labels = label_spec(name, task, config)
    decoder = _part(place, "decoder", _decoder_config(place, config, path), f"{path}.decoder", labels)
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
        cure = "build it with on_boxes=True" if _can_read_boxes(type(decoder)) else "leave 'boxes_from' out"
        raise ConfigError(f"branch '{name}': decoder '{config.decoder.name}' reads no boxes; {cure}")
    if decoder.needs == "boxes" and config.boxes_from is None:
        raise ConfigError(
            f"branch '{name}': decoder '{config.decoder.name}' reads boxes; say from which branch: boxes_from: NAME"
        )
    return Branch(decoder, neck=neck, encoder=encoder, weight=config.weight, boxes_from=config.boxes_from)


def _decoder_config(place: _Place, config: BranchConfig, path: str) -> PartConfig:
    """A branch's decoder, told to read boxes where the branch stands on another one and the decoder works both ways."""
    if config.boxes_from is None or f"{path}.decoder" in place.objects:
        return config.decoder
    if not _can_read_boxes(find("decoder", config.decoder.name)):
        return config.decoder
    return PartConfig(name=config.decoder.name, **{"on_boxes": True, **config.decoder.options})


def _can_read_boxes(decoder: type[Any]) -> bool:
    return any(option.name == "on_boxes" for option in describe_class("decoder", "", decoder).options)


def _check_regions(branches: Mapping[str, Branch]) -> None:
    """A branch that reads boxes stands on one that has them, and that finds at least one of its classes."""
    for name, branch in branches.items():
        if branch.boxes_from is None:
            continue
        giver = branches[branch.boxes_from]
        if not get_task(giver.task).has_boxes:
            raise ConfigError(
                f"branch '{name}' reads boxes, but '{branch.boxes_from}' is for {giver.task} and has none"
            )
        found, wanted = giver.labels.classes, branch.labels.classes
        if not set(found) & set(wanted):
            raise ConfigError(
                f"branch '{name}' reads the boxes of '{branch.boxes_from}', which finds none of its classes "
                f"({', '.join(wanted)}), but {', '.join(found)}; call them the same"
            )


def _neck_config(place: _Place, config: BranchConfig, path: str) -> PartConfig:
    """A branch's neck with what its decoder wishes of it, where the user has said nothing and the neck has the option.

    An encoder between them works on the deepest level, so that a decoder's wishes do not reach beyond one.
    """
    assert config.neck is not None
    if config.encoder is not None or f"{path}.neck" in place.objects:
        return config.neck
    decoder = place.objects.get(f"{path}.decoder") or find("decoder", config.decoder.name)
    known = {option.name for option in describe("neck", config.neck.name).options}
    wishes = {name: value for name, value in getattr(decoder, "neck_defaults", {}).items() if name in known}
    return PartConfig(name=config.neck.name, **{**wishes, **config.neck.options})


def _check_task(name: str, task: str, given: Any, decoder: str) -> None:
    served = (task_of_object(given) or task) if given is not None else find("decoder", decoder).task
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
    if "exclusive" not in known and not config.exclusive:
        raise ConfigError(f"branch '{name}': 'exclusive' means nothing for task '{task}'; leave it out")
    extra: dict[str, Any] = {"exclusive": config.exclusive} if "exclusive" in known else {}
    if "ignore_index" in known and len(config.classes) > BYTE:
        extra["ignore_index"] = 2**16 - 1
    for key, value in config.label_fields.items():
        if isinstance(value, list):
            value = tuple(tuple(one) if isinstance(one, list) else one for one in value)
        extra[key] = value
    return kind(classes=tuple(config.classes), **{**kind.implied(extra), **extra})


def _part(place: _Place, kind: str, config: PartConfig, path: str, labels: LabelSpec | None = None) -> nn.Module:
    """Builds one part on what comes in, and moves the place behind it."""
    given = place.objects.get(path)
    arguments = (place.spec,) if labels is None else (place.spec, labels)
    try:
        if isinstance(given, nn.Module):
            part = given
        elif given is not None:
            part = _call(place, given, arguments, path)
        else:
            kind_class = find(kind, config.name)
            options = check_options(kind_class, config.options, f"model.{path}")
            part = kind_class(*arguments, **options, **_kept(place, kind_class, path))
    except IncompatiblePartsError as error:
        raise error.between(f"{kind} '{config.name}'", place.giver, place.spec.describe()) from None
    except VertebraError:
        raise
    except (RuntimeError, TypeError, OverflowError, MemoryError) as error:
        if given is not None:
            raise  # a part of somebody's own, whose traceback is for them
        reason = shortened(str(error) or type(error).__name__, 160)
        raise ConfigError(
            f"model.{path}: {kind} '{config.name}' cannot be built with {config.options}: {reason}"
        ) from error
    if labels is None:
        spec = getattr(part, "out_spec", None)
        if not isinstance(spec, FeatureSpec):
            raise ConfigError(
                f"model.{path}: {type(part).__name__} has no out_spec; a {kind} sets it to the FeatureSpec of what it gives"
            )
        place.spec = place.specs.setdefault(path, spec)
        place.giver = f"{kind} '{config.name}'"
    module: nn.Module = part
    return module


def _kept(place: _Place, build: Callable[..., Any], path: str) -> dict[str, Any]:
    """The levels that are read of a part, as an argument for it."""
    known = place.keep is not None and path in place.keep and takes_levels(build)
    return {"keep_levels": place.keep[path]} if known and place.keep is not None else {}


def _call(place: _Place, build: Callable[..., Any], arguments: tuple[Any, ...], path: str) -> Any:
    """The part that a user's callable builds. One that takes ``keep_levels`` is built again when they are known, as parts by
    name are; any other is called once, and not on the meta device."""
    if takes_levels(build):
        return build(*arguments, **_kept(place, build, path))
    if path not in place.built:
        with place.device:
            place.built[path] = build(*arguments)
    return place.built[path]


def _ordered(branches: Mapping[str, BranchConfig]) -> list[str]:
    """Branch names, each after the one whose boxes it reads."""
    done: list[str] = []
    waiting = list(branches)
    while waiting:
        ready = [name for name in waiting if branches[name].boxes_from is None or branches[name].boxes_from in done]
        if not ready:
            name = waiting[0]
            target = branches[name].boxes_from
            if target not in branches:
                raise UnknownName(f"branch in 'boxes_from' of branch '{name}':", str(target), branches)
            raise ConfigError(f"branches read each other's boxes in a circle: {', '.join(waiting)}")
        done += ready
        waiting = [name for name in waiting if name not in ready]
    return done


def canvas_size(image_size: int | Sequence[int] | None, tasks: Any) -> tuple[int, int]:
    """(height, width) of the canvas from what was given, or the default for these tasks."""
    if image_size is None:
        return (224, 224) if all_image_level(tasks) else (512, 512)
    size = (image_size, image_size) if isinstance(image_size, int) else tuple(image_size)
    if len(size) != 2 or any(isinstance(side, bool) or not 1 <= side <= LONGEST for side in size):
        raise ConfigError(
            f"image_size must be one number or (height, width), of 1 to {LONGEST} pixels a side, got {image_size}"
        )
    return (int(size[0]), int(size[1]))


def default_resize(tasks: Any) -> str:
    """How images come onto the canvas where nothing is said."""
    return "center_crop" if all_image_level(tasks) else "letterbox"
