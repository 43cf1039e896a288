"""Builds a model from part names or from its config."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any, cast

from torch import nn

from vertebra.config import BranchConfig, ModelConfig, PartConfig, model_config
from vertebra.config_short_forms import expand_model
from vertebra.errors import ConfigError
from vertebra.keywords import strict_keywords
from vertebra.model import VisionModel
from vertebra.object_parts import check_objects, take_objects, warn_of_objects
from vertebra.part_builder import BuildState, build_parts
from vertebra.parts import check_options, find
from vertebra.preprocess.image_transform import Mode, ResizeSpec
from vertebra.preprocess.number_range import ScaleOption, parse_scale
from vertebra.tasks import all_image_level, get_task

Part = str | Mapping[str, Any] | PartConfig | nn.Module | Callable[..., nn.Module]
"""A part by name, by name with options, or as an object: a module, or a callable that takes the incoming spec."""

MAX_SIDE = 1 << 16  # of a canvas, in pixels


@strict_keywords
def create_model(
    backbone: Part,
    *,
    decoder: Part | None = None,
    neck: Part | None = None,
    encoder: Part | None = None,
    classes: Sequence[str] | None = None,
    task: str | None = None,
    multilabel: bool = False,
    boxes_from: Part | None = None,
    labels: Mapping[str, Any] | None = None,
    branches: Mapping[str, Mapping[str, Any]] | None = None,
    shared: Mapping[str, Part] | None = None,
    image_size: int | Sequence[int] | None = None,
    resize: str | None = None,
    scale: ScaleOption = "auto",
) -> VisionModel:
    """Builds a model out of parts.

    One branch is given by ``decoder`` (with ``neck``, ``encoder``, ``classes``); several by ``branches``, a mapping from
    the branch's name to its parts and classes. Part names and options: ``vertebra parts``.

    Args:
        backbone: a timm model's name, or a mapping with ``name`` and options, or an object (`vertebra.as_backbone`).
        multilabel: a sigmoid for each class (True) or softmax over classes (False).
        boxes_from: with ``decoder``, the decoder of a second branch whose boxes it reads; neck and encoder are shared then. By
            default the default detector where ``decoder`` needs boxes.
        labels: further fields of the task's labels; for keypoints ``points``, ``skeleton``, ``flip_pairs``, ``sigmas``.
        shared: ``neck`` and ``encoder`` before the fork.
        image_size: (height, width) of the canvas in pixels, or one number for both; by default 224 where all branches
            classify, else 512.
        resize: "letterbox", "resize" or "center_crop"; by default center_crop where all branches classify, else letterbox.
        scale: the range of images of more than 8 bits: "auto", the number of white (65535), or [low, high]; see
            `vertebra.preprocess.number_range`.

    Raises:
        ConfigError: an unknown name or a wrong option.
        ObjectPartWarning: some parts were given as objects, which files of the model do not hold.
        IncompatiblePartsError: two parts that do not fit; the message names both and a remedy.
    """
    raw: dict[str, Any] = {"backbone": backbone, "shared": _mapping("shared", shared or {})}
    if branches is not None:
        raw["branches"] = {
            name: _mapping(f"branches[{name!r}]", branch) for name, branch in _mapping("branches", branches).items()
        }
    single = {
        "decoder": decoder,
        "neck": neck,
        "encoder": encoder,
        "classes": classes,
        "task": task,
        "boxes_from": boxes_from,
    }
    raw.update({name: value for name, value in single.items() if value is not None})
    if multilabel:
        raw["multilabel"] = True
    raw.update(_mapping("labels", labels or {}))
    raw = expand_model(raw, "model")
    _check_classes(raw)
    objects = take_objects(raw)
    config = model_config(raw)
    model = build(config, image_size=image_size, resize=resize, scale=scale, objects=objects)
    warn_of_objects(config, stacklevel=4)
    return model


def _mapping(name: str, value: Any) -> dict[str, Any]:
    """A mapping as a dictionary."""
    if not isinstance(value, Mapping):
        raise ConfigError(f"'{name}' must be a mapping from names to values, got {type(value).__name__}")
    return dict(value)


def _check_classes(raw: Mapping[str, Any]) -> None:
    """Checks that classes are lists of names; a text is a sequence too."""
    for branch in raw.get("branches", {}).values():
        classes = branch.get("classes")
        if isinstance(classes, str):
            raise ConfigError(f"classes must be a list of names, got the text '{classes}'")
        if isinstance(classes, Mapping) or not isinstance(classes, Iterable | None):
            raise ConfigError(f"classes must be a list of names, got {type(classes).__name__}: classes=['cat', 'dog']")
        if classes is not None:
            branch["classes"] = list(classes)


def build(
    config: ModelConfig,
    *,
    image_size: int | Sequence[int] | None = None,
    resize: str | None = None,
    scale: ScaleOption = "auto",
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
    mode = cast(Mode, resize or default_resize(tasks.values()))
    resize_spec = ResizeSpec(size, mode, scale=parse_scale(scale))
    if resize_spec.mode == "center_crop" and not all_image_level(tasks.values()):
        raise ConfigError(
            "resize 'center_crop' cuts off an image's margin, which only tasks about the whole image allow; use 'letterbox'"
        )
    backbone = objects.get("backbone")
    if backbone is None:
        backbone = _backbone(config.backbone, size, pretrained)
    if not isinstance(backbone, Backbone):
        raise ConfigError(
            f"the backbone {type(backbone).__name__} is no vertebra.backbones.Backbone, so its levels are unknown; "
            "wrap it: vertebra.as_backbone(module, spec)"
        )
    fixed = backbone.fixed_size
    if fixed is not None and any(want > have for want, have in zip(size, fixed, strict=True)):
        raise ConfigError(
            f"backbone '{config.backbone.name}' is built for {fixed[0]}x{fixed[1]}, got a canvas of {size[0]}x{size[1]}; "
            f"set image_size to {fixed[0]}x{fixed[1]}"
        )
    reason = f" ({backbone.refusal})" if backbone.refusal else ""
    state = BuildState(backbone.out_spec, f"backbone '{config.backbone.name}'{reason}", objects)
    shared, branches = build_parts(state, config, tasks)
    decoders = [branch.decoder for branch in branches.values()]
    backbone = backbone.with_required_outputs(
        embedding=any(decoder.uses_embedding for decoder in decoders),
        maps=bool(shared) or any(decoder.uses_maps for decoder in decoders),
    )
    model = VisionModel(backbone, branches, resize_spec, shared=shared, config=_portable(config))
    model.origin = dict(backbone.weights_from)
    return model


def _portable(config: ModelConfig) -> dict[str, Any]:
    """The config that the model and its files keep: weight files by name, without their folders."""
    plain = config.model_dump(mode="json")
    plain["init_from"] = None
    plain["backbone"] = {key: _without_folders(value, key) for key, value in plain["backbone"].items()}
    return plain


def _without_folders(value: Any, key: str = "") -> Any:
    if isinstance(value, dict):
        return {name: _without_folders(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [_without_folders(inner) for inner in value]
    if isinstance(value, str) and (key == "pretrained" or re.match(r"/|~|[A-Za-z]:[\\/]", value)):
        return re.split(r"[\\/]", value)[-1]
    return value


def branch_name(text: str) -> str:
    """A name for a branch, as near to a text as names of branches can be: "type" is "type_branch"."""
    name = re.sub(r"[^\w-]|^(?=[\d-])", "_", text)
    name = name if re.match(r"[^\W\d_]", name) else f"attribute{name}"
    return f"{name}_branch" if _is_reserved(name) else name


def _is_reserved(name: str) -> bool:
    return hasattr(nn.ModuleDict(), name) or name in ("image", "height", "width", "frame", "time")


def _check_names(branches: Iterable[str]) -> None:
    """A branch's name is a module's name, a key of a prediction, and the first part of ``branch/metric``."""
    for name in branches:
        taken = _is_reserved(name)
        if taken or not re.fullmatch(r"[^\W\d][\w-]*", name):
            raise ConfigError(
                f"'{name}' cannot be a branch's name"
                + (f" (it is reserved); '{name}_branch' could" if taken else "; take letters, digits, _ and -")
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


def canvas_size(image_size: int | Sequence[int] | None, tasks: Any) -> tuple[int, int]:
    """(height, width) of the canvas, from ``image_size`` or the default for these tasks."""
    if image_size is None:
        return (224, 224) if all_image_level(tasks) else (512, 512)
    size = tuple(image_size) if isinstance(image_size, Iterable) else (image_size, image_size)
    if len(size) != 2 or any(
        isinstance(side, bool) or not isinstance(side, Integral) or not 1 <= int(side) <= MAX_SIDE for side in size
    ):
        raise ConfigError(
            f"image_size must be one number or (height, width), of 1 to {MAX_SIDE} pixels a side, got {image_size}"
        )
    return (int(size[0]), int(size[1]))


def default_resize(tasks: Any) -> str:
    """How images are resized to the canvas by default."""
    return "center_crop" if all_image_level(tasks) else "letterbox"
