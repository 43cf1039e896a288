"""Indices of large data sets, kept in the user's cache folder: what is computed from annotations for a task and a split.

An index is stored as arrays and JSON. Of classes only dataclasses of this package and of the task's package are made again.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from vertebra import __version__
from vertebra.annotations.notes import Note
from vertebra.annotations.table import Annotations
from vertebra.data.array_cache import Entry, load_entry, remove_entry, store_entry
from vertebra.data.index import Index
from vertebra.tasks import get_task

VERSION = 1  # of what is derived from annotations: raised when a task, or the division, derives something else


class NotStorable(TypeError):
    """An index has a value that is neither an array, nor JSON, nor a dataclass of such."""


def cached_index(annotations: Annotations, task: str, settings: object, derive: Callable[[], Index]) -> Index:
    """An index from the cache, or else derived and, where the annotations have a key, stored.

    Args:
        annotations: from which it is derived.
        task: its task.
        settings: all else on which it depends; its text is a part of the key.
        derive: computes the index; its notes begin with those of the annotations.
    """
    if not annotations.key:
        return derive()
    key = f"index-{_hash([VERSION, __version__, annotations.key, task, repr(settings)])}"
    index = _load(key, annotations, task)
    if index is None:
        index = derive()
        _store(key, annotations, task, index)
    return index


def _hash(values: list[Any]) -> str:
    return hashlib.sha256(json.dumps(values).encode()).hexdigest()


def _store(key: str, annotations: Annotations, task: str, index: Index) -> None:
    arrays = {"images": index.images}
    try:
        values = {
            "column": to_json(index.columns[task], arrays),
            "labels": to_json(index.labels[task], arrays),
            "notes": to_json(tuple(index.notes[len(annotations.notes) :]), arrays),
        }
    except NotStorable:
        return
    store_entry(key, Entry(arrays, values))


def _load(key: str, annotations: Annotations, task: str) -> Index | None:
    entry = load_entry(key)
    if entry is None:
        return None
    packages = {__name__.partition(".")[0], type(get_task(task).data).__module__.partition(".")[0]}
    try:
        column, labels, notes = (
            from_json(entry.values[name], entry.arrays, packages) for name in ("column", "labels", "notes")
        )
        new: list[Note] = list(notes)
        images = entry.arrays["images"]
    except (KeyError, TypeError, ValueError, AttributeError, ImportError):  # of another version of the package
        remove_entry(key)
        return None
    return Index(annotations.root, images, {task: column}, {task: labels}, [*annotations.notes, *new])


def to_json(value: Any, arrays: dict[str, np.ndarray]) -> Any:
    """A value as JSON has it.

    Args:
        value: a dataclass, a tuple, a path, an array, text, a number, or None, in any depth.
        arrays: gets the arrays, by the names that replace them.

    Raises:
        NotStorable: it is anything else.
    """
    if value is None or type(value) in (bool, int, float, str):
        return value
    if type(value) is tuple:
        return [to_json(each, arrays) for each in value]
    if isinstance(value, Path):
        return {"path": str(value)}
    if type(value) is np.ndarray and not value.dtype.hasobject:
        name = f"array{len(arrays)}"
        arrays[name] = value
        return {"array": name}
    if is_dataclass(value) and "__dataclass_fields__" in vars(type(value)):
        made = {each.name: to_json(getattr(value, each.name), arrays) for each in fields(value) if each.init}
        return {"class": [type(value).__module__, type(value).__qualname__], "fields": made}
    raise NotStorable(f"a value of {type(value).__name__}")


def from_json(value: Any, arrays: Mapping[str, np.ndarray], packages: set[str]) -> Any:
    """The value that `to_json` was given.

    Args:
        value: what it returned.
        arrays: by name.
        packages: whose dataclasses may be made.

    Raises:
        ValueError: the class is of another package, or is no dataclass.
        KeyError, TypeError, AttributeError, ImportError: it is damaged, or of another version.
    """
    if isinstance(value, list):
        return tuple(from_json(each, arrays, packages) for each in value)
    if not isinstance(value, dict):
        return value
    if "path" in value:
        return Path(value["path"])
    if "array" in value:
        return arrays[value["array"]]
    module, name = value["class"]
    if module.partition(".")[0] not in packages:
        raise ValueError(f"{module}.{name} is of another package")
    made = getattr(import_module(module), name)
    if not (isinstance(made, type) and is_dataclass(made)):
        raise ValueError(f"{module}.{name} is no dataclass")
    return made(**{key: from_json(each, arrays, packages) for key, each in value["fields"].items()})
