"""The task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from vertebra.tasks import Task
from vertebra.tasks.metric import TaskMetric
from vertebra_regress.data import RegressData
from vertebra_regress.types import RegressAnnotation, RegressLabels, RegressPrediction


class MeanViews:
    """The mean of several views of an image."""

    def __init__(self, labels: RegressLabels, whole: bool) -> None:
        self.values: list[np.ndarray] = []

    def add(self, decoded: Sequence[np.ndarray], view_transform: Any) -> None:
        self.values.append(decoded[0])

    def finish(self) -> list[np.ndarray]:
        return [np.mean(self.values, axis=0)]


class RegressMetric(TaskMetric):
    """The mean absolute error of all numbers."""

    lower_is_better = frozenset({"mae"})

    def __init__(self, labels: RegressLabels) -> None:
        super().__init__(labels)
        self.add_state("total", torch.zeros(()), dist_reduce_fx="sum")
        self.add_state("count", torch.zeros(()), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[RegressPrediction], ground_truths: Sequence[RegressAnnotation]) -> None:
        for prediction, ground_truth in zip(predictions, ground_truths, strict=True):
            self.total += float(np.abs(prediction.values - ground_truth.values).sum())
            self.count += len(ground_truth.values)

    def names(self) -> list[str]:
        return ["mae"]

    def compute(self) -> dict[str, float]:
        return {"mae": float(self.total / self.count)} if self.count else {}


def from_decoded(decoded: Sequence[np.ndarray], transform: Any, labels: Any, image: Any = None) -> RegressPrediction:
    values = np.asarray(decoded[0], dtype=np.float32)
    return RegressPrediction(np.arange(len(values)), values, labels, image)


def similarity(expected: RegressPrediction, got: RegressPrediction) -> float:
    return 1 - min(1.0, float(np.abs(expected.values - got.values).max()))


def to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    return decoded


REGRESS = Task(
    name="regress",
    labels=RegressLabels,
    annotation=RegressAnnotation,
    prediction=RegressPrediction,
    monitor="mae",
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=to_image,
    metric=RegressMetric,
    data=RegressData(),
    tta_merger=MeanViews,
    default_parts={"decoder": "regress_linear"},
)
