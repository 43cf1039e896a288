"""Expansion of the short forms of a config: one branch directly under ``model``, one data set for all splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError, shortened

SPLITS = ("train", "val", "test")


def expand_model(raw: Any, where: str) -> Any:
    """Expands the short form of one branch directly under ``model``."""
    if not isinstance(raw, Mapping):
        return raw
    values = dict(raw)
    short = ("task", "neck", "encoder", "decoder", "classes", "multilabel", *_label_fields(values))
    flat = {name: values.pop(name) for name in short if name in values}
    if isinstance(values.get("branches"), Mapping):
        values["branches"] = {name: _expand_branch(branch) for name, branch in values["branches"].items()}
    if not flat:
        return values
    if "branches" in values:
        raise ConfigError(f"{where}: '{next(iter(flat))}' is set beside 'branches'; put it inside a branch")
    if "decoder" not in flat:
        raise ConfigError(f"{where}: 'decoder' is missing")
    task = flat.get("task") or task_of_decoder(flat["decoder"])
    if not isinstance(task, str):
        raise ConfigError(f"{where}: 'task' must be the name of a task, got {task!r}")
    values["branches"] = {task: {**flat, "task": task}}
    return values


def _expand_branch(raw: Any) -> Any:
    """Expands the task of a branch that reads boxes, ``{task: classify, boxes_from: cells}``, and its default decoder."""
    from vertebra.tasks import all_tasks

    if not isinstance(raw, Mapping) or raw.get("boxes_from") is None or raw.get("task") not in all_tasks():
        return raw
    values, named = dict(raw), all_tasks()[raw["task"]]
    task = all_tasks()[named.on_boxes or named.name]
    values.setdefault("decoder", task.default_parts["decoder"])
    if task_of_decoder(values["decoder"]) == task.name:
        values["task"] = task.name
    return values


def _label_fields(model: Mapping[str, Any]) -> tuple[str, ...]:
    """Label fields of any task directly under ``model``."""
    from vertebra.tasks import all_tasks

    known = {field for task in all_tasks().values() for field in task.labels.own_fields()}
    return tuple(sorted(known & set(model)))


def task_of_decoder(decoder: Any) -> str:
    """The task of a decoder, from its name or its config."""
    from vertebra.parts import find

    name = decoder.get("name") if isinstance(decoder, Mapping) else decoder
    if not isinstance(name, str):
        if isinstance(decoder, Mapping):
            raise ConfigError("the decoder has no 'name'; write {'name': NAME, ...}")
        if not callable(decoder):
            raise ConfigError(
                "the decoder must be a name, a mapping with a name and options, a module, or a callable that returns one, got "
                f"{type(decoder).__name__}"
            )
        task = served_task(decoder)
        if task is None:
            name = getattr(decoder, "__qualname__", type(decoder).__qualname__)
            raise ConfigError(f"the decoder {name} has no attribute 'task'; name its task: task=...")
        return task
    return str(find("decoder", name).task)


def served_task(decoder: Any) -> str | None:
    """The task of a decoder, of its class, or of a `functools.partial` of its class; None if it has no ``task``."""
    task = getattr(decoder, "task", None) or getattr(getattr(decoder, "func", None), "task", None)
    return None if task is None else str(task)


def expand_data(raw: Any, where: str) -> Any:
    """Expands a single path, and one source for all splits."""
    if isinstance(raw, str | Path):
        raw = {"path": str(raw)}
    if not isinstance(raw, Mapping):
        return raw
    values = dict(raw)
    if "path" in values:
        of_all = {"check": values.pop("check")} if "check" in values else {}
        return {**{split: [dict(values)] for split in SPLITS}, **of_all}
    for split in SPLITS:
        if split in values:
            values[split] = _expand_sources(values[split])
    if "train" not in values:
        raise ConfigError(f"{where}: 'train' is missing (a path, or a list of sources with 'path')")
    for split in ("val", "test"):
        values.setdefault(split, [{k: v for k, v in s.items() if k != "split"} for s in values["train"]])
    return values


def _expand_sources(raw: Any) -> Any:
    sources = raw if isinstance(raw, Sequence) and not isinstance(raw, str) else [raw]
    expanded = [{"path": str(source)} if isinstance(source, str | Path) else source for source in sources]
    for source in expanded:
        if not isinstance(source, Mapping):
            raise ConfigError(
                f"a source of data is a path, or a mapping with 'path'; got {shortened(json.dumps(source, default=str))}"
            )
    return expanded
