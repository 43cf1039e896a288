"""The minimum scores from which predictions count: the defaults, those that a model stores, and the user's one (numpy only)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from vertebra.errors import ConfigError, UnknownName

OBJECT_THRESHOLD = 0.3
"""The minimum score of objects (boxes, poses) where neither the user nor the model has one."""

CLASS_THRESHOLD = 0.5
"""The minimum probability of a class where classes may overlap, for images and pixels."""

ScoreThreshold: TypeAlias = float | np.ndarray
"""One minimum score for all classes, or (K,) float64, one for each class in the order of their ids."""

ClassThresholds: TypeAlias = Mapping[str, float]
"""Minimum scores by class name; other classes have the default."""


def class_thresholds(stored: ClassThresholds, classes: Sequence[str], default: float) -> np.ndarray:
    """The minimum score of each class, (K,) float64.

    Args:
        stored: by class name.
        classes: all classes in the order of their ids.
        default: of classes without a stored score.
    """
    return np.array([stored.get(name, default) for name in classes], dtype=np.float64)


def checked_thresholds(stored: Any, classes: Sequence[str], where: str) -> dict[str, float]:
    """Stored minimum scores of a branch as plain numbers.

    Args:
        stored: by class name.
        classes: of the branch.
        where: the branch, for messages.

    Raises:
        ConfigError: it is no mapping, a class does not exist, or a score is not within 0 and 1.
    """
    if not isinstance(stored, Mapping):
        raise ConfigError(f"{where}: thresholds are a mapping from classes to scores, got {type(stored).__name__}")
    checked = {}
    for name, score in stored.items():
        if name not in classes:
            raise UnknownName(f"class in the thresholds of {where}:", str(name), classes)
        number = isinstance(score, int | float | np.number) and not isinstance(score, bool)
        if not number or not 0 <= score <= 1:
            raise ConfigError(f"{where}: the threshold of class '{name}' must be a score from 0 to 1, got {score!r}")
        checked[name] = float(score)
    return checked
