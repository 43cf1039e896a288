"""A transform of the user's own as ``train.augment``: taken out of the config, which holds its name only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from vertebra.config import TrainConfig
from vertebra.errors import ConfigError
from vertebra.object_parts import class_name

Transform = Callable[..., Any]


def take_transform(raw: Mapping[str, Any]) -> tuple[dict[str, Any], Transform | None]:
    """Takes the transform out of a config.

    Args:
        raw: with ``train`` or without.

    Returns:
        The config with the transform's class in angle brackets, and the transform; None if ``train.augment`` is a preset.

    Raises:
        ConfigError: it is an object that cannot be called.
    """
    train = raw.get("train")
    value = train.get("augment") if isinstance(train, Mapping) else None
    if value is None or isinstance(value, str | int | float | list | Mapping):
        return dict(raw), None
    if not callable(value) or isinstance(value, type):
        raise ConfigError(
            "'train.augment' must be a preset, by name or with options, or a transform that can be called with an image, got "
            f"{class_name(value)}"
        )
    return {**raw, "train": {**train, "augment": f"<{class_name(value)}>"}}, value  # type: ignore[dict-item]


def check_transform(recipe: TrainConfig, transform: Transform | None) -> None:
    """Checks that the transform is given if the config names one.

    Raises:
        ConfigError: it is not given, or there is one too many.
    """
    name = recipe.augment.name
    if recipe.augment.is_object and transform is None:
        raise ConfigError(
            f"'train.augment' {name} was given as an object, which no file holds; give it again from Python: augment=..., in "
            "vertebra.train and vertebra.resume"
        )
    if transform is not None and not recipe.augment.is_object:
        raise ConfigError(f"'train.augment' is '{name}' in this config; leave the transform out")


def transform_note(recipe: TrainConfig) -> list[str]:
    """What the user should know of a transform as augmentation; empty for a preset."""
    if not recipe.augment.is_object:
        return []
    return [
        f"augmentation: {recipe.augment.name}, given as an object. config.yaml holds its name only; give it again to resume: "
        "vertebra.resume(FOLDER, augment=...)"
    ]
