"""Merges the class probabilities of several views of an image (test-time augmentation; numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class ClassifyTTA:
    """The mean of the views' probabilities.

    Args:
        labels, whole: unused; every task takes them.
    """

    def __init__(self, labels: ClassifyLabels, whole: bool) -> None:
        self.probabilities_of_views: list[np.ndarray] = []

    def add(self, decoded: Sequence[np.ndarray], view_transform: ViewTransform) -> None:
        """Adds one view; see `vertebra.tasks.task.TTAMerger`."""
        (probabilities,) = decoded
        self.probabilities_of_views.append(np.asarray(probabilities, dtype=np.float32))

    def finish(self) -> list[np.ndarray]:
        """The merged arrays: probabilities (K,)."""
        return [np.mean(self.probabilities_of_views, axis=0)]
