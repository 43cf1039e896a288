"""The metadata of an exported file, with which it can be used without the model; without torch."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from vertebra.errors import ConfigError, WeightsError
from vertebra.model_info import ModelInfo
from vertebra.preprocess.image_transform import ResizeSpec
from vertebra.tasks import get_task
from vertebra.tasks.thresholds import checked_thresholds

KEY = "vertebra"
FORMAT_VERSION = 2
LARGEST, THRESHOLD = "largest", "threshold"  # decoding rules of class scores
CLASS_MAP = "class_map"  # the output with the class of each pixel
DETAILS = ("producer", "origin", "image", "inputs", "outputs", "decoding")


class FileInfo(NamedTuple):
    """The metadata of a file.

    Attributes:
        info: of the model.
        outputs: by branch, the names of its decoded fields in their order.
        report: of the comparison with the model.
        config: of the model; None where it was built from objects.
        details: ``producer``, ``image``, ``inputs``, ``outputs``, ``decoding``, and the ``origin`` of an imported model.
    """

    info: ModelInfo
    outputs: Mapping[str, list[str]]
    report: Mapping[str, Any]
    config: Mapping[str, Any] | None
    details: Mapping[str, Any] = MappingProxyType({})


def to_json(info: FileInfo) -> str:
    """The metadata of a file."""
    branches = {
        name: {
            "task": task,
            "labels": dataclasses.asdict(labels),
            "outputs": info.outputs[name],
            "whole": name in info.info.whole,
            **({"boxes_from": info.info.attributes[name]} if name in info.info.attributes else {}),
            **({"thresholds": dict(info.info.thresholds[name])} if name in info.info.thresholds else {}),
            **({"promise": dict(info.info.promises[name])} if name in info.info.promises else {}),
        }
        for name, (task, labels) in info.info.branches.items()
    }
    return json.dumps(
        {
            "format_version": FORMAT_VERSION,
            **info.details,
            "preprocess": info.info.resize_spec.to_dict(),
            "channels": info.info.channels,
            "branches": branches,
            "report": info.report,
            "config": info.config,
        },
        ensure_ascii=False,
    )


def from_json(text: str | None, name: str) -> FileInfo:
    """The inverse of `to_json`.

    Args:
        text: the metadata, or None where the file has none.
        name: of the file, for messages.

    Raises:
        WeightsError: the file is not one that Vertebra exported, or another version of Vertebra did.
    """
    try:
        values = json.loads(text or "")
        version = values["format_version"]
        if version > FORMAT_VERSION:
            raise WeightsError(f"{name}: written by a newer Vertebra (format {version}); update Vertebra")
        if version < FORMAT_VERSION:
            raise WeightsError(
                f"{name}: written by an older Vertebra (format {version}), but this one reads format {FORMAT_VERSION}; export "
                "the model again"
            )
        branches = {}
        for branch, entry in values["branches"].items():
            fields = {key: _tuples(value) for key, value in entry["labels"].items()}
            branches[branch] = (entry["task"], get_task(entry["task"]).labels(**fields))
            _names(list(branches[branch][1].classes))
        outputs = {branch: _names(entry["outputs"]) for branch, entry in values["branches"].items()}
        whole = frozenset(
            branch
            for branch, entry in values["branches"].items()
            if entry.get("whole", get_task(entry["task"]).image_level)
        )
        thresholds, promises = _stored_thresholds(values["branches"], branches, name)
        attributes = _attribute_sources(values["branches"])
        resize_spec = ResizeSpec.from_dict(values["preprocess"])
        info = ModelInfo(
            resize_spec,
            _whole_number(values["channels"]),
            branches,
            whole,
            thresholds=thresholds,
            promises=promises,
            attributes=attributes,
        )
        details = _checked_details(values)
        report = _checked_report(values["report"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        if isinstance(error, WeightsError):
            raise
        raise WeightsError(
            f"{name}: no file that Vertebra exported; make one with: vertebra export RUN --to onnx"
        ) from None
    return FileInfo(info, outputs, report, values.get("config"), details)


def _whole_number(value: Any) -> int:
    """A number as it is.

    Raises:
        TypeError: it is no positive integer.
    """
    if type(value) is not int or value < 1:
        raise TypeError("no positive integer")
    return value


def _names(values: Any) -> list[str]:
    """A list of names as it is.

    Raises:
        TypeError: it is none.
    """
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise TypeError("no list of names")
    return values


def _attribute_sources(entries: Mapping[str, Any]) -> dict[str, str]:
    """The branches of attributes, and the branch that has the boxes of each."""
    sources = {branch: entry["boxes_from"] for branch, entry in entries.items() if "boxes_from" in entry}
    if not set(sources.values()) <= set(entries) - set(sources):
        raise KeyError("boxes_from")
    return sources


def _stored_thresholds(
    entries: Mapping[str, Any], branches: Mapping[str, tuple[str, Any]], file: str
) -> tuple[dict[str, dict[str, float]], dict[str, dict[str, Any]]]:
    """The thresholds of the branches that have them, and their promises.

    Raises:
        WeightsError: a threshold is of no class of its branch, or no score.
    """
    try:
        thresholds = {
            branch: checked_thresholds(entry["thresholds"], branches[branch][1].classes, f"branch '{branch}'")
            for branch, entry in entries.items()
            if "thresholds" in entry
        }
    except ConfigError as error:
        raise WeightsError(f"{file}: {error}; export the model again") from None
    return thresholds, {branch: dict(entry["promise"]) for branch, entry in entries.items() if "promise" in entry}


def _checked_details(values: Mapping[str, Any]) -> dict[str, Any]:
    """The details, if they have the form that `to_json` writes."""
    details = {key: dict(values[key]) for key in DETAILS if key in values}
    for key, required in (("inputs", ("type", "shape")), ("outputs", ("type", "shape")), ("decoding", ())):
        for entry in details.get(key, {}).values():
            if (
                not isinstance(entry, dict)
                or any(name not in entry for name in required)
                or not isinstance(entry.get("shape", []), list)
            ):
                raise TypeError(key)
            float(entry.get("threshold", 0.0))
    if "producer" in details and not {"name", "version"} <= details["producer"].keys():
        raise TypeError("producer")
    return details


def _checked_report(values: Mapping[str, Any]) -> dict[str, Any]:
    """The report, if it has the form that an export writes."""
    report = dict(values)
    for key in ("differences", "agreement", "pixels"):
        for value in dict(report.get(key) or {}).values():
            float(value)
    for pair in dict(report.get("metrics") or {}).values():
        before, after = pair
        float(before), float(after)
    return report


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list) else value
