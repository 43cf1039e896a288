"""Parts that are given as objects: a module, a class, or a callable that takes the incoming spec.

A file holds the weights of such a part, not its code, so the object must be given again when the model is built from a
file. Only a class of the catalog, or a `functools.partial` of one, is stored by name.
"""

from __future__ import annotations

import functools
import inspect
import warnings
from collections.abc import Mapping
from importlib.metadata import entry_points
from typing import Any

from torch import nn

from vertebra.backbones import WrappedBackbone
from vertebra.config import ModelConfig, PartConfig
from vertebra.config_short_forms import task_of_decoder
from vertebra.errors import ConfigError, ObjectPartWarning, UnknownName
from vertebra.parts import registered

SHORT_KINDS = ("neck", "encoder", "decoder")
WRAPPER = "vertebra.as_backbone"


def take_objects(raw: dict[str, Any]) -> dict[str, Any]:
    """Takes the objects out of a model's config, and returns them by path; the config gets the names of their classes.

    Args:
        raw: the config with everything written out (`vertebra.config_short_forms.expand_model`); it is changed.

    Raises:
        ConfigError: a part is of a wrong type; a decoder has no ``task``, and its branch has none.
    """
    objects: dict[str, Any] = {}

    def take(section: dict[str, Any], kind: str, path: str) -> None:
        value = section.get(kind)
        if isinstance(value, PartConfig):
            section[kind] = value.model_dump()
        elif value is not None and not isinstance(value, str | Mapping):
            if not callable(value):
                raise ConfigError(
                    f"{path} must be a name, a mapping with a name and options, a module, or a callable that returns one, got "
                    f"{type(value).__name__}"
                )
            section[kind] = _by_name(kind, value)
            if section[kind] is None:
                section[kind] = {"name": f"<{class_name(value)}>"}
                objects[path] = value

    take(raw, "backbone", "backbone")
    for kind in ("neck", "encoder"):
        take(raw.get("shared", {}), kind, f"shared.{kind}")
    for name, branch in raw.get("branches", {}).items():
        decoder = branch.get("decoder")
        for kind in SHORT_KINDS:
            take(branch, kind, f"branches.{name}.{kind}")
        if f"branches.{name}.decoder" in objects:
            _complete(branch, decoder)
    return objects


def _complete(branch: dict[str, Any], decoder: Any) -> None:
    """Fills in a branch's options from its decoder object: the task, and if it is a module, the classes."""
    if branch.get("task") is None:
        branch["task"] = task_of_decoder(decoder)
    labels = getattr(decoder, "labels", None) if isinstance(decoder, nn.Module) else None
    if labels is not None and branch.get("classes") is None:
        branch["classes"] = list(labels.classes)


def class_name(value: Any) -> str:
    """The class of an object, or the name of a callable, with its module; of a wrapped backbone with the wrapper's call."""
    if isinstance(value, WrappedBackbone):
        return f"{WRAPPER}({class_name(value.body)})"
    if isinstance(value, functools.partial):
        return class_name(value.func)
    named = value if hasattr(value, "__qualname__") else type(value)
    return f"{named.__module__}.{named.__qualname__}"


def _by_name(kind: str, value: Any) -> dict[str, Any] | None:
    """Name and options of a class of the catalog, or of a `functools.partial` of one; None for any other object."""
    options: dict[str, Any] = {}
    if isinstance(value, functools.partial) and not value.args:
        value, options = value.func, dict(value.keywords)
    if kind == "backbone" or not inspect.isclass(value):
        return None
    reference = f"{value.__module__}:{value.__qualname__}"
    for name, part in registered(kind).items():
        if part is value:
            return {"name": name, **options}
    for point in entry_points(group=f"vertebra.{kind}s"):
        if point.value == reference:
            return {"name": point.name, **options}
    return None


def warn_of_objects(config: ModelConfig, stacklevel: int) -> None:
    """Warns of the parts that were given as objects, if there are any.

    Args:
        config: of the model.
        stacklevel: as of `warnings.warn`, counted from the caller.
    """
    parts = config.object_parts
    if not parts:
        return
    listed = ", ".join(f"{path.rpartition('.')[2]} {name}" for path, name in parts.items())
    groups = dict.fromkeys(f"vertebra.{path.rpartition('.')[2]}s" for path in parts if not path.startswith("backbone"))
    by_name = (
        f", or install {'it' if len(parts) == 1 else 'them'} as entry points ({', '.join(groups)})" if groups else ""
    )
    warnings.warn(
        f"{listed}: given as {'an object' if len(parts) == 1 else 'objects'}. A file of this model holds the weights and not "
        f"the code; load it with vertebra.load(PATH, {_parts_argument(config)}){by_name}",
        ObjectPartWarning,
        stacklevel=stacklevel + 1,
    )


def _parts_argument(config: ModelConfig) -> str:
    """The argument ``parts`` for this model, as Python code."""
    parts = config.object_parts
    shown = ", ".join(f'"{_key(path, config)}": {_constructor(name)}' for path, name in parts.items())
    repeated = len({(path.rpartition(".")[2], name) for path, name in parts.items()}) < len(parts)
    note = " (one object in several branches: give the same object for each key)" if repeated else ""
    return f"parts={{{shown}}}{note}"


def _constructor(name: str) -> str:
    """The call that makes an object again, from its `class_name`."""
    short = name.rpartition(".")[2]
    if name.startswith(f"{WRAPPER}("):
        return f"{WRAPPER}({short.removesuffix(')')}(...), ...)"
    return "the callable that you gave" if short == "<lambda>" else f"{short}(...)"


def _key(path: str, config: ModelConfig) -> str:
    """The shortest key of a part: "neck" where there is one branch, "boxes.neck" where there are several."""
    if not path.startswith("branches."):
        return path
    _, branch, kind = path.split(".")
    key = kind if len(config.branches) == 1 else f"{branch}.{kind}"
    return path if key in config.object_parts else key  # a branch may be called "shared"


def resolve_parts(parts: Mapping[str, Any] | None, config: ModelConfig) -> dict[str, Any]:
    """Objects by path, from a user's short keys; exactly those that the config needs.

    Args:
        parts: objects by "backbone", "neck", "encoder", "decoder" (of the one branch), "boxes.neck" (of a branch),
            "shared.neck", or the whole path "branches.boxes.neck".
        config: of the model.

    Raises:
        UnknownName: the model has no such part; the message has the nearest right key.
        ConfigError: one is missing, or is no object.
    """
    needed = config.object_parts
    keys = {path.removeprefix("branches."): path for path in needed}
    keys |= {_key(path, config): path for path in needed}
    keys |= {path: path for path in needed}  # last: the full path wins
    objects: dict[str, Any] = {}
    for key, value in (parts or {}).items():
        if key not in keys:
            if not needed:
                raise ConfigError(f"parts: all parts of this model are built by name; leave '{key}' out")
            raise UnknownName("part that was given as an object:", key, keys)
        if not callable(value):
            raise ConfigError(f"parts: '{key}' must be a module, a class or a callable, got {type(value).__name__}")
        objects[keys[key]] = value
    check_objects(config, objects)
    return objects


def check_objects(config: ModelConfig, objects: Mapping[str, Any]) -> None:
    """Checks that all parts that are objects are given.

    Raises:
        ConfigError: one is missing; the message has the argument for it.
    """
    missing = [f"{path} ({name})" for path, name in config.object_parts.items() if path not in objects]
    if missing:
        raise ConfigError(
            f"{', '.join(missing)} was given as an object, which no file holds; give it again to vertebra.load, evaluate or "
            f"resume: {_parts_argument(config)}"
        )
