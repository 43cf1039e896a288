"""Annotations from the data set to the batch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from torch import Tensor, from_numpy, randn

from vertebra.tasks.data import TaskData
from vertebra_regress.types import RegressAnnotation, RegressLabels


class RegressTargets(NamedTuple):
    """Attributes:
    values: (N, K) float32.
    """

    values: Tensor


class RegressData(TaskData):
    """Numbers of whole images."""

    whole_image = True

    def to_canvas(self, annotation: RegressAnnotation, *geometry: Any) -> RegressAnnotation:
        return annotation

    def cut(self, annotation: RegressAnnotation, *geometry: Any) -> RegressAnnotation:
        return annotation

    def relabel(
        self, annotation: RegressAnnotation, ids: np.ndarray, source_labels: Any, labels: Any
    ) -> RegressAnnotation:
        values = np.zeros(labels.class_count, dtype=np.float32)
        values[ids[ids >= 0]] = annotation.values[ids >= 0]
        return RegressAnnotation(values)

    def occurrences(self, annotation: RegressAnnotation, classes: int) -> np.ndarray:
        return np.ones(classes, dtype=np.int64)

    def counted(self, annotation: RegressAnnotation, labels: Any) -> int:
        return 1

    def stack(self, annotations: Sequence[RegressAnnotation], labels: Any) -> RegressTargets:
        return RegressTargets(from_numpy(np.stack([annotation.values for annotation in annotations])))

    def fake_labels(self, classes: Sequence[str], multilabel: bool) -> RegressLabels:
        return RegressLabels(tuple(classes))

    def fake_targets(self, labels: Any, canvas: tuple[int, int], batch: int) -> RegressTargets:
        return RegressTargets(randn(batch, labels.class_count))
