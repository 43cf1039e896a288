"""What a model file stores of a model's calibration: the temperature of each branch, thresholds by class, and what they promise."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from vertebra.errors import ConfigError, UnknownName
from vertebra.model import VisionModel
from vertebra.tasks import get_task
from vertebra.tasks.thresholds import ClassThresholds, checked_thresholds

MIN_TEMPERATURE, MAX_TEMPERATURE = 0.05, 20.0


def store_thresholds(
    model: VisionModel,
    thresholds: Mapping[str, ClassThresholds],
    promises: Mapping[str, Mapping[str, Any]] | None = None,
) -> None:
    """Sets the thresholds of some branches, which prediction then uses by default, and which files of the model have.

    Args:
        model: is changed.
        thresholds: by branch, minimum scores by class, 0 to 1; an empty mapping removes those of a branch. Branches that are
            not named keep theirs.
        promises: by branch, what the new thresholds keep; thresholds without an entry promise nothing.

    Raises:
        ConfigError: a branch or class does not exist, or a score is not within 0 and 1.
    """
    checked = {name: _of_branch(model, name, stored) for name, stored in thresholds.items()}
    kept = {name: stored for name, stored in model.thresholds.items() if name not in checked}
    model.thresholds = kept | {name: stored for name, stored in checked.items() if stored}
    old = {name: promise for name, promise in model.promises.items() if name not in checked}
    new = {name: dict(promise) for name, promise in (promises or {}).items() if checked.get(name)}
    model.promises = old | new


def store_deciding_thresholds(model: VisionModel, thresholds: Mapping[str, ClassThresholds]) -> None:
    """`store_thresholds` of the branches whose predictions thresholds decide: those of objects and of overlapping classes.

    Where classes are exclusive the most probable one is the prediction, and the branch's thresholds are left out.
    """
    deciding = {}
    for name, stored in thresholds.items():
        branch = model.branch(name)
        if getattr(branch.labels, "multilabel", True):  # labels of objects have no such field
            deciding[name] = stored
    store_thresholds(model, deciding)


def set_temperature(model: VisionModel, name: str, temperature: float) -> None:
    """Sets the temperature of a branch; 1 leaves its scores as they are.

    Raises:
        ConfigError: the branch does not exist, its task has no temperature, or the number is out of range.
    """
    if name not in model.branches:
        raise UnknownName("branch", name, list(model.branches))
    task = get_task(model.branch(name).task)
    if task.temper is None:
        raise ConfigError(
            f"branch '{name}': scores of the task {task.name} are no probabilities and have no temperature"
        )
    number = isinstance(temperature, int | float) and not isinstance(temperature, bool) and math.isfinite(temperature)
    if not number or not MIN_TEMPERATURE <= temperature <= MAX_TEMPERATURE:
        raise ConfigError(
            f"branch '{name}': the temperature must be a number from {MIN_TEMPERATURE:g} to {MAX_TEMPERATURE:g}, "
            f"got {temperature!r}"
        )
    model.branch(name).decoder.temperature = float(temperature)


def clear_calibration(model: VisionModel) -> None:
    """Removes temperatures, thresholds and promises, which do not hold for other weights."""
    model.thresholds, model.promises = {}, {}
    for name in model.branches:
        decoder = model.branch(name).decoder
        if decoder.temperature != 1:
            decoder.temperature = 1.0


def calibration_header(model: VisionModel) -> dict[str, Any]:
    """The entries of a model file's header; empty for a model without them.

    Raises:
        ConfigError: thresholds that were set by hand are not right; see `store_thresholds`.
    """
    temperatures = {name: model.branch(name).decoder.temperature for name in model.branches}
    entries = {
        "temperatures": {name: value for name, value in temperatures.items() if value != 1},
        "thresholds": {name: _of_branch(model, name, stored) for name, stored in model.thresholds.items()},
        "promises": {name: dict(promise) for name, promise in model.promises.items()},
    }
    return {name: entry for name, entry in entries.items() if entry}


def take_calibration(model: VisionModel, header: Mapping[str, Any]) -> None:
    """Sets temperatures, thresholds and promises from a model file's header, which may have none.

    Raises:
        ConfigError: they do not fit the model's branches and classes.
    """
    for name, temperature in header.get("temperatures", {}).items():
        set_temperature(model, name, temperature)
    store_thresholds(model, header.get("thresholds", {}), header.get("promises", {}))


def _of_branch(model: VisionModel, name: str, stored: Any) -> dict[str, float]:
    if name not in model.branches:
        raise UnknownName("branch of thresholds", name, list(model.branches))
    return checked_thresholds(stored, model.branch(name).labels.classes, f"branch '{name}'")
