"""The classes of an image out of several looks at it (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from vertebra.tasks.classify.labels import ClassifyLabels

if TYPE_CHECKING:
    from vertebra.preprocess.view_transform import ViewTransform


class ClassifyTTA:
    """The mean of the looks' probabilities.

    Args:
        labels, whole: of no consequence here; taken because every task takes them.
    """

    def __init__(self, labels: ClassifyLabels, whole: bool) -> None:
        self.probabilities_of_views: list[np.ndarray] = []

    def add(self, decoded: Sequence[np.ndarray], sight: ViewTransform) -> None:
        """What one look shows; see `vertebra.tasks.task.TTAMerger`."""
        (probabilities,) = decoded
        self.probabilities_of_views.append(np.asarray(probabilities, dtype=np.float32))

    def finish(self) -> list[np.ndarray]:
        """The decoded arrays of all looks together: probabilities (K,)."""
        return [np.mean(self.probabilities_of_views, axis=0)]
