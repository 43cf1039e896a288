"""The catalog of parts, by name, with their options from their constructors.

A part is an entry of its package's dictionary or a Python entry point of an installed package (groups
``vertebra.necks``, ``vertebra.encoders``, ``vertebra.decoders``), or is passed as an object. The keyword-only arguments
of its ``__init__`` are its options and their schema.
"""

from __future__ import annotations

import dataclasses
import fnmatch
import inspect
import re
import types
from collections.abc import Mapping
from functools import cache
from importlib.metadata import entry_points
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from pydantic import ConfigDict, create_model

from vertebra.errors import ConfigError, UnknownName
from vertebra.keywords import strict_keywords
from vertebra.validation import validate

Kind = Literal["backbone", "neck", "encoder", "decoder"]
KINDS: tuple[Kind, ...] = ("backbone", "neck", "encoder", "decoder")


@dataclasses.dataclass(frozen=True)
class Option:
    """One option of a part.

    Attributes:
        name: its name in Python, YAML and on the command line.
        type: its type in words.
        default: its default value; ``...`` if it is required.
        meaning: its description in the part's docstring.
    """

    name: str
    type: str
    default: Any
    meaning: str = ""


@dataclasses.dataclass(frozen=True)
class Part:
    """An entry of the catalog."""

    kind: str
    name: str
    summary: str
    paper: str
    task: str | None
    options: tuple[Option, ...]


def names(kind: str) -> list[str]:
    """All names of a kind ("neck", "encoder", "decoder"), installed packages included."""
    return sorted({*registered(kind), *(point.name for point in entry_points(group=f"vertebra.{kind}s"))})


def find(kind: str, name: str) -> type[Any]:
    """The class of a part.

    Raises:
        UnknownName: with the nearest names.
    """
    parts_of_kind = registered(kind)
    if name in parts_of_kind:
        part: type[Any] = parts_of_kind[name]
        return part
    for point in entry_points(group=f"vertebra.{kind}s"):
        if point.name == name:
            loaded: type[Any] = point.load()
            return loaded
    raise UnknownName(kind, name, names(kind))


@strict_keywords
def list_backbones(pattern: str = "*", *, pretrained: bool = False) -> list[str]:
    """Names of backbones, sorted; none is built.

    Args:
        pattern: such as ``"resnet*"``; ``*`` matches any text.
        pretrained: only those with published weights.

    Raises:
        ConfigError: the pattern is no text.
    """
    if not isinstance(pattern, str):
        raise ConfigError(f"'pattern' must be a text such as 'resnet*', got {type(pattern).__name__}")
    from vertebra.backbones import BACKBONES, timm_models

    return sorted([*fnmatch.filter(BACKBONES, pattern), *timm_models(pattern, pretrained=pretrained)])


@strict_keywords
def list_parts(kind: str | None = None, task: str | None = None) -> list[Part]:
    """Necks, encoders and decoders with their options, those of installed packages too; for backbones see `list_backbones`.

    Args:
        kind: "neck", "encoder" or "decoder"; None for all.
        task: only decoders for this task.

    Raises:
        UnknownName: there is no such kind or task; the message has the nearest right name.
    """
    from vertebra.tasks import get_task

    if kind == "backbone":
        raise ConfigError("backbones are listed by vertebra.list_backbones(pattern)")
    if kind is not None and kind not in KINDS:
        raise UnknownName("kind of part", kind, KINDS[1:])
    if task is not None:
        get_task(task)
    parts = [describe(listed, name) for listed in KINDS[1:] if kind in (None, listed) for name in names(listed)]
    return [part for part in parts if task in (None, part.task)]


def registered(kind: str) -> Mapping[str, type[Any]]:
    """Vertebra's parts of a kind, by name.

    Raises:
        UnknownName: there is no such kind.
    """
    if kind == "neck":
        from vertebra.necks import NECKS

        return NECKS
    if kind == "encoder":
        from vertebra.encoders import ENCODERS

        return ENCODERS
    if kind == "decoder":
        from vertebra.decoders import DECODERS

        return DECODERS
    raise UnknownName("kind of part", kind, KINDS)


def describe(kind: str, name: str) -> Part:
    """The catalog's entry of a part."""
    return describe_class(kind, name, find(kind, name))


def describe_class(kind: str, name: str, part: type[Any]) -> Part:
    """The catalog's entry for a part's class, which need not be registered."""
    return Part(
        kind=kind,
        name=name,
        summary=" ".join((inspect.getdoc(part) or "").split("\n\n")[0].split()),
        paper=getattr(part, "paper", ""),
        task=getattr(part, "task", None),
        options=tuple(options(part)),
    )


def options(part: type[Any]) -> list[Option]:
    """The options of a part: the keyword-only arguments of its ``__init__``."""
    hints, descriptions = get_type_hints(part.__init__), meanings(part)
    return [
        Option(
            name,
            _type_words(hints.get(name, Any)),
            ... if default is inspect.Parameter.empty else default,
            descriptions.get(name, ""),
        )
        for name, default in _keywords(part).items()
    ]


def meanings(part: type[Any]) -> dict[str, str]:
    """Descriptions of arguments in the ``Args`` of the docstrings of a class and its bases."""
    descriptions: dict[str, str] = {}
    for base in reversed(part.__mro__):
        _, _, block = inspect.cleandoc(base.__dict__.get("__doc__") or "").partition("\nArgs:\n")
        for entry in re.finditer(r"^    (\w+(?:, \w+)*): (.+(?:\n {8}.+)*)", block, re.MULTILINE):
            descriptions |= dict.fromkeys(entry[1].split(", "), " ".join(entry[2].split()))
    return descriptions


def _keywords(part: type[Any]) -> dict[str, Any]:
    parameters = inspect.signature(part.__init__).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is inspect.Parameter.KEYWORD_ONLY}


def _type_words(annotation: Any) -> str:
    if get_origin(annotation) in (Union, types.UnionType):
        return " | ".join(map(_type_words, get_args(annotation)))
    if isinstance(annotation, type) and not hasattr(annotation, "__args__"):
        return annotation.__name__.replace("NoneType", "None")
    return re.sub(r"(typing|types|builtins|collections\.abc)\.", "", str(annotation))


@cache
def _schema(part: type[Any]) -> type[Any]:
    hints = get_type_hints(part.__init__)
    fields: dict[str, Any] = {
        name: (hints.get(name, Any), ... if default is inspect.Parameter.empty else default)
        for name, default in _keywords(part).items()
    }
    schema: type[Any] = create_model(
        "Options",
        __config__=ConfigDict(strict=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False),
        **fields,
    )
    return schema


def check_options(part: type[Any], values: Mapping[str, Any], path: str) -> dict[str, Any]:
    """A part's options, checked and converted, without defaults.

    Args:
        part: the class of the part.
        values: the options by name.
        path: their path in the config, for messages ("model.branches.boxes.decoder").

    Raises:
        ConfigError: a value of a wrong type, or an unknown option (with the nearest right name).
    """
    checked = validate(_schema(part), values, path)  # type: ignore[arg-type]  # a class is hashable
    known = _keywords(part)
    for name, value in values.items():
        default = known.get(name)
        if dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            fields = [field.name for field in dataclasses.fields(default)]
            for key in value:
                if key not in fields:
                    raise UnknownName(f"option '{path}.{name}.{key}':", key, fields)
    return {name: getattr(checked, name) for name in values}
