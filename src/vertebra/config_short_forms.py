"""Expansion of the short forms of a config: one branch directly under ``model``, one data set for all splits."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from vertebra.errors import ConfigError, shortened

SPLITS = ("train", "val", "test")
ROTATED = "rotated_"  # of the names of decoders for rotated boxes, in front of that of the decoder for upright ones


def expand_model(raw: Any, where: str) -> Any:
    """Expands the short form of one branch directly under ``model``.

    If its decoder reads boxes, or ``boxes_from`` names a decoder that gives them, a second branch is made for these, and the neck
    and the encoder are shared by both.
    """
    if not isinstance(raw, Mapping):
        return raw
    values = _expand_rotated(raw, where)
    short = ("task", "neck", "encoder", "decoder", "classes", "multilabel", "boxes_from", *_label_fields(values))
    flat = {name: values.pop(name) for name in short if name in values}
    if isinstance(values.get("branches"), Mapping):
        values["branches"] = {
            name: _expand_branch(_expand_rotated(branch, f"{where}.branches.{name}"))
            for name, branch in values["branches"].items()
        }
    if not flat:
        return values
    if "branches" in values:
        raise ConfigError(f"{where}: '{next(iter(flat))}' is set beside 'branches'; put it inside a branch")
    if "decoder" not in flat:
        raise ConfigError(f"{where}: 'decoder' is missing")
    task = flat.get("task") or task_of_decoder(flat["decoder"])
    if not isinstance(task, str):
        raise ConfigError(f"{where}: 'task' must be the name of a task, got {task!r}")
    source = flat.pop("boxes_from", None) or _default_box_decoder(flat["decoder"], task)
    if source is not None:
        return _on_boxes(values, {**flat, "task": task}, source, where)
    values["branches"] = {task: {**flat, "task": task}}
    return values


def _expand_rotated(raw: Any, where: str) -> Any:
    """Expands the option ``rotated: true`` of a decoder: ``{name: fcos, rotated: true}`` is short for ``rotated_fcos``, and the
    task is that of this decoder."""
    from vertebra.parts import names

    decoder = raw.get("decoder") if isinstance(raw, Mapping) else None
    if not isinstance(decoder, Mapping) or not isinstance(decoder.get("rotated"), bool):
        return dict(raw) if isinstance(raw, Mapping) else raw
    options = {key: value for key, value in decoder.items() if key != "rotated"}
    values = {**raw, "decoder": options}
    if not decoder["rotated"] or str(options.get("name")).startswith(ROTATED):
        return values
    known = [name.removeprefix(ROTATED) for name in names("decoder") if name.startswith(ROTATED)]
    if options.get("name") not in known:
        raise ConfigError(
            f"{where}: decoder '{options.get('name')}' has no form for rotated boxes; decoders that have one: {', '.join(known)}"
        )
    if values.get("task") == task_of_decoder(options["name"]):
        values.pop("task")
    options["name"] = f"{ROTATED}{options['name']}"
    return {**values, "task": values.get("task") or task_of_decoder(options["name"])}


def _default_box_decoder(decoder: Any, task: str) -> str | None:
    """The decoder whose boxes a decoder reads by default; None for one that reads none."""
    from vertebra.parts import find
    from vertebra.tasks import get_task

    box_task = get_task(task).boxes_from
    if box_task is None:
        return None
    name = decoder.get("name") if isinstance(decoder, Mapping) else decoder
    kind = find("decoder", name) if isinstance(name, str) else name
    return get_task(box_task).default_parts["decoder"] if getattr(kind, "needs", None) == "boxes" else None


def _on_boxes(values: dict[str, Any], branch: dict[str, Any], source: Any, where: str) -> dict[str, Any]:
    """The config of two branches: one on the boxes of the other, both on the same neck and encoder.

    Args:
        values: of the model, without branches.
        branch: that reads boxes.
        source: the decoder that gives them.
    """
    from vertebra.parts import describe

    name = task_of_decoder(source)
    if name == branch["task"]:
        raise ConfigError(f"{where}: 'boxes_from' must be a decoder of another task than '{name}'")
    shared = dict(values.get("shared") or {})
    for kind in ("neck", "encoder"):
        if kind in branch and shared.get(kind) is not None:
            raise ConfigError(f"{where}: '{kind}' is set beside 'shared', which has one; leave one of them out")
        shared |= {kind: branch.pop(kind)} if kind in branch else {}
    neck = {"name": shared["neck"]} if isinstance(shared.get("neck"), str) else shared.get("neck")
    if isinstance(neck, Mapping) and isinstance(neck.get("name"), str) and shared.get("encoder") is None:
        known = {option.name for option in describe("neck", neck["name"]).options}
        defaults = {option: value for option, value in _neck_defaults(source).items() if option in known}
        shared["neck"] = {**neck, **{option: value for option, value in defaults.items() if option not in neck}}
    boxes = {"task": name, "decoder": source, **({"classes": branch["classes"]} if "classes" in branch else {})}
    branches = {branch["task"]: {**branch, "boxes_from": name}, name: boxes}
    return {**values, **({"shared": shared} if shared else {}), "branches": branches}


def _neck_defaults(decoder: Any) -> Mapping[str, Any]:
    """The options of a neck in front of a decoder, see `vertebra.decoders.base.Decoder`."""
    from vertebra.parts import find

    name = decoder.get("name") if isinstance(decoder, Mapping) else decoder
    defaults: Mapping[str, Any] = getattr(find("decoder", name) if isinstance(name, str) else name, "neck_defaults", {})
    return defaults


def _expand_branch(raw: Any) -> Any:
    """Expands the task of a branch that reads boxes, ``{task: classify, boxes_from: cells}``, and its default decoder."""
    from vertebra.tasks import all_tasks

    if not isinstance(raw, Mapping) or raw.get("boxes_from") is None or raw.get("task") not in all_tasks():
        return raw
    values, named = dict(raw), all_tasks()[raw["task"]]
    task = all_tasks()[named.on_boxes or named.name]
    values.setdefault("decoder", task.default_parts["decoder"])
    if named.on_boxes is not None and task_of_decoder(values["decoder"]) == task.name:
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
