"""The search space of tuning: the options of a config that are changed, each with its possible values."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from vertebra.config import Config
from vertebra.data.open_datasets import branch_tasks
from vertebra.errors import ConfigError, VertebraError, shortened
from vertebra.recipe.choices import choose_backbone_lr
from vertebra.tasks import all_image_level
from vertebra.training.optimizers import peak_lr, weight_decay
from vertebra.training.record import was_pretrained
from vertebra.validation import validate
from vertebra.yaml_files import assign

AUGMENTATIONS = ("light", "default", "strong")


class Range(BaseModel):
    """A range of numbers, whole ones if both ends are.

    Attributes:
        low: the smallest value.
        high: the largest value.
        log: whether values are drawn evenly by their logarithm.
        step: distance of the values; null for any value.
    """

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)

    low: int | float
    high: int | float
    log: bool = False
    step: int | float | None = Field(default=None, gt=0)

    @property
    def is_whole(self) -> bool:
        """Whether all values are whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def check(self, path: str) -> None:
        """Checks the combination of values.

        Raises:
            ConfigError: it is no range; the message has the path.
        """
        if not self.low < self.high:
            raise ConfigError(f"{path}: low must be less than high, got {self.low} and {self.high}")
        if self.log and self.low <= 0:
            raise ConfigError(f"{path}: with log, low must be above 0, got {self.low}")
        if self.log and self.step is not None:
            raise ConfigError(f"{path}: log and step exclude each other; leave one out")
        if self.is_whole and isinstance(self.step, float):
            raise ConfigError(f"{path}: whole numbers need a whole step, got {self.step}")


class SearchSpace:
    """The options that are changed, by their key in the config: each has a `Range` or a list of choices.

    Args:
        raw: as read from YAML: ``train.lr: {low: 1e-4, high: 1e-2, log: true}``, ``model.decoder: [retinanet, fcos]``. Keys are
            those of overrides.

    Raises:
        ConfigError: an entry is neither.
    """

    def __init__(self, raw: Mapping[str, Any]) -> None:
        if not raw:
            raise ConfigError("tune: the search space is empty; name an option, such as train.lr: [0.001, 0.003]")
        self.raw = dict(raw)
        self.ranges: dict[str, Range] = {}
        self.choices: dict[str, list[Any]] = {}
        for key, entry in raw.items():
            if isinstance(entry, Mapping):
                self.ranges[key] = validate(Range, entry, f"tune.{key}")
                self.ranges[key].check(f"tune.{key}")
            elif isinstance(entry, Sequence) and not isinstance(entry, str) and len(entry) > 0:
                self.choices[key] = list(entry)
            else:
                raise ConfigError(
                    f"tune.{key}: '{shortened(str(entry))}' must be a list of choices, or a range: {{low: 0.1, high: 1}}"
                )

    def check(self, raw: Mapping[str, Any]) -> None:
        """Checks that a config with each of the choices, and with the ends of each range, is valid.

        Args:
            raw: the config that is changed.

        Raises:
            ConfigError: a key or value is wrong; the message has the key.
        """
        ends = {key: [entry.low, entry.high] for key, entry in self.ranges.items()}
        for key, values in {**ends, **self.choices}.items():
            for value in values:
                try:
                    Config.from_raw(changed(raw, {key: value}))
                except VertebraError as error:
                    raise ConfigError(f"tune.{key}: {shortened(json.dumps(value, default=str))}: {error}") from None

    def draw(self, trial: Any) -> dict[str, Any]:
        """The values of an Optuna trial, by key. Choices that are lists or mappings are JSON texts in its study."""
        values: dict[str, Any] = {}
        for key in self.raw:
            if key in self.choices:
                values[key] = _read(trial.suggest_categorical(key, [_text(choice) for choice in self.choices[key]]))
                continue
            entry = self.ranges[key]
            if entry.is_whole:
                values[key] = trial.suggest_int(key, entry.low, entry.high, log=entry.log, step=entry.step or 1)
            else:
                values[key] = trial.suggest_float(key, entry.low, entry.high, log=entry.log, step=entry.step)
        return values

    def values_of(self, config: Config) -> dict[str, Any]:
        """The values that a config has, as an Optuna study names them; without those that are not in the space."""
        written, train = config.model_dump(mode="json"), config.train
        written["train"]["lr"], written["train"]["weight_decay"] = peak_lr(train), weight_decay(train)
        if train.backbone_lr is None:
            written["train"]["backbone_lr"] = choose_backbone_lr(all_image_level(branch_tasks(config).values()))
        values: dict[str, Any] = {}
        for key in self.raw:
            value = _get(written, key)
            if key in self.ranges:
                entry = self.ranges[key]
                if isinstance(value, int | float) and entry.low <= value <= entry.high:
                    values[key] = value
            else:
                name = value["name"] if isinstance(value, dict) and set(value) == {"name"} else value
                for choice in self.choices[key]:
                    if choice in (value, name):
                        values[key] = _text(choice)
        return values


def _get(written: Any, key: str) -> Any:
    """The value at a dotted key, or None; ``model.decoder`` is that of the only branch."""
    container, rest = written, key.split(".")
    if rest[0] == "model" and len(rest) > 1 and rest[1] not in written["model"]:
        branches = list(written["model"]["branches"].values())
        container, rest = (branches[0], rest[1:]) if len(branches) == 1 else ({}, rest)
    for part in rest:
        container = container.get(part) if isinstance(container, dict) else None
    return container


def _text(choice: Any) -> Any:
    """A choice as Optuna stores it: plain values as they are, else JSON."""
    return choice if choice is None or isinstance(choice, bool | int | float | str) else json.dumps(choice)


def _read(value: Any) -> Any:
    """The choice of `_text`."""
    return json.loads(value) if isinstance(value, str) and value[:1] in ("[", "{") else value


def changed(raw: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """A config as plain values, with some of its values replaced.

    Args:
        raw: the config; it is not changed.
        values: by dotted key.
    """
    result = dict(raw)
    for key, value in values.items():
        assign(result, key, value)
    return result


def default_space(config: Config) -> dict[str, Any]:
    """The search space of a recipe where none is given: learning rates, weight decay, augmentation, and for a pretrained backbone
    the part of the steps in which it is frozen."""
    recipe = config.train
    lr, decay = peak_lr(recipe), weight_decay(recipe)
    space: dict[str, Any] = {"train.lr": {"low": lr / 5, "high": lr * 5, "log": True}}
    if decay:
        space["train.weight_decay"] = {"low": decay / 10, "high": decay * 4, "log": True}
    if not recipe.augment.is_object and not recipe.augment.options:
        space["train.augment"] = list(dict.fromkeys([recipe.augment.name, *AUGMENTATIONS]))
    if was_pretrained(config):
        space["train.backbone_lr"] = {"low": 0.03, "high": 1.0, "log": True}
        space["train.freeze_backbone"] = list(dict.fromkeys([recipe.freeze_backbone, 0.0, 0.2]))
    return space
