"""The classify task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.classify.agreement import agreement
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.crops import merge_crops
from vertebra.tasks.classify.data import ClassifyData
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.looks import ClassifyLooks
from vertebra.tasks.classify.predictions import from_decoded
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.classify.in_image import to_image

    return to_image(decoded, geometry, size)


def _metric(labels: ClassifyLabels) -> TaskMetric:
    from vertebra.tasks.classify.metrics import build_metric

    return build_metric(labels)


CLASSIFY = Task(
    name="classify",
    labels=ClassifyLabels,
    annotation=ClassifyAnnotation,
    prediction=ClassifyPrediction,
    best_metric="accuracy",
    from_decoded=from_decoded,
    agreement=agreement,
    to_image=_to_image,
    metric=_metric,
    data=ClassifyData(),
    looks=ClassifyLooks,
    default_parts={"decoder": "linear"},
    merge_crops=merge_crops,
)
