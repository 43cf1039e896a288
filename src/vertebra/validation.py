"""Strict checks of options from YAML, the command line and keyword arguments, with helpful messages."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from pydantic import BaseModel, ValidationError

from vertebra.errors import ConfigError, UnknownName, shortened

Model = TypeVar("Model", bound=BaseModel)

_WORDS = {
    "bool_type": "true or false",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "a text",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (name: value)",
    "model_type": "a mapping (name: value)",
    "dataclass_type": "a mapping (name: value)",
}


def validate(model: type[Model], values: Mapping[str, Any], path: str) -> Model:
    """Checks values against a pydantic model by the rules of JSON: ``true`` is not ``1.0``, ``"3"`` is not ``3``.

    Args:
        model: the schema.
        values: the values; data classes in them count as mappings.
        path: their path, for messages ("model.branches.boxes.decoder").

    Raises:
        ConfigError: a value does not fit; the message has its full path.
        UnknownName: an option that does not exist; the message has the nearest right name.
    """
    try:
        text = json.dumps(dict(values), default=_plain)
    except (TypeError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path or 'config'}: cannot be written as YAML or JSON ({error})") from None
    try:
        return model.model_validate_json(text, strict=True)
    except ValidationError as error:
        raise _translate(error, model, path) from None


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if hasattr(value, "__fspath__"):
        return str(value)
    raise TypeError(f"{type(value).__name__} is no plain value")


def _translate(error: ValidationError, model: type[BaseModel], path: str) -> ConfigError:
    problems = sorted(error.errors(), key=lambda problem: problem["type"] != "extra_forbidden")
    first = problems[0]
    unknown = first["type"] in ("extra_forbidden", "unexpected_keyword_argument")
    location = (
        (*_without_union_labels(first["loc"][:-1]), first["loc"][-1])
        if unknown
        else _without_union_labels(first["loc"])
    )
    where = ".".join([path, *(str(part) for part in location)]) if path else ".".join(map(str, location))
    if not location:
        return ConfigError(f"{path or 'config'}: {_expected(first)}")
    if unknown:
        parent = ".".join(where.split(".")[:-1]) or "the config"
        return UnknownName(f"option '{where}':", str(location[-1]), _known(model, location[:-1]) or [parent])
    if first["type"] == "missing":
        return ConfigError(f"'{where}' is missing")
    if first["type"] == "value_error":  # raised by a validator of the schema, with its message
        cause = (first.get("ctx") or {}).get("error")
        if isinstance(cause, UnknownName) or (isinstance(cause, ConfigError) and where in str(cause)):
            return cause  # it names the option already
        return ConfigError(f"{where}: {str(first['msg']).removeprefix('Value error, ')}")
    if first["type"] in ("too_short", "string_too_short"):
        return ConfigError(f"'{where}' must not be empty")
    shown = shortened(json.dumps(first["input"], default=str), 100)
    expected = [
        _WORDS.get(problem["type"], _expected(problem)) for problem in problems if _same_location(problem, location)
    ]
    return ConfigError(f"'{where}' must be {' or '.join(dict.fromkeys(expected))}, got {shown}")


def _same_location(problem: Any, location: tuple[Any, ...]) -> bool:
    return _without_union_labels(problem["loc"]) == location


def _without_union_labels(location: tuple[Any, ...]) -> tuple[Any, ...]:
    """A location without pydantic's names of union members; a name below 'branches' is always the user's."""
    pairs = zip((None, *location), location, strict=False)
    return tuple(part for parent, part in pairs if parent == "branches" or not _is_union_label(part))


def _is_union_label(part: Any) -> bool:
    """Whether a part of a location is pydantic's name of a union member; no option has the name of a type."""
    if not isinstance(part, str):
        return False
    return (
        part in ("bool", "int", "float", "str", "none") or "[" in part or (part[:1].isupper() and part.isidentifier())
    )


def _expected(problem: Any) -> str:
    context = problem.get("ctx") or {}
    if problem["type"] == "literal_error":
        return str(context["expected"])
    text = str(problem["msg"])
    for start in ("Input should be ", "Value error, "):
        text = text.removeprefix(start)
    return text[:1].lower() + text[1:]


def _known(model: type[Any], location: tuple[Any, ...]) -> list[str]:
    """The option names at a location inside a schema."""
    schema: Any = model
    for part in location:
        if isinstance(part, int):
            continue
        if get_origin(schema) is dict:
            schema = get_args(schema)[1]
            continue
        annotation = _fields(schema).get(str(part))
        if annotation is None:
            return []
        schema = annotation if get_origin(annotation) is dict else _schema_class(annotation)
    return list(_fields(schema))


def _fields(schema: Any) -> dict[str, Any]:
    if isinstance(schema, type) and issubclass(schema, BaseModel):
        return {name: field.annotation for name, field in schema.model_fields.items()}
    if dataclasses.is_dataclass(schema) and isinstance(schema, type):
        return dict(get_type_hints(schema))
    return {}


def _schema_class(annotation: Any) -> Any:
    """The class with fields in an annotation such as ``list[Source] | None``."""
    if _fields(annotation):
        return annotation
    origin = get_origin(annotation)
    if origin in (Union, list, tuple) or type(annotation).__name__ == "UnionType":
        return next((schema_class for member in get_args(annotation) if (schema_class := _schema_class(member))), None)
    return None
