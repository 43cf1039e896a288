"""The classify task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.crops import merge_crops
from vertebra.tasks.classify.data import ClassifyData
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.mixing import ClassifyMixing
from vertebra.tasks.classify.object_scores import confidences, object_scores
from vertebra.tasks.classify.predictions import from_decoded
from vertebra.tasks.classify.similarity import similarity
from vertebra.tasks.classify.tta import ClassifyTTA
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.classify.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _temper(decoded: Any, labels: ClassifyLabels, temperature: float) -> Any:
    from vertebra.tasks.temperature import temper_classes

    return temper_classes(decoded, labels.multilabel, temperature)


def _metric(labels: ClassifyLabels) -> TaskMetric:
    from vertebra.tasks.classify.metrics import build_metric

    return build_metric(labels)


def _diagnoser(labels: ClassifyLabels) -> Diagnoser:
    from vertebra.tasks.classify.diagnosis import ClassifyDiagnosis

    return ClassifyDiagnosis(labels)


CLASSIFY = Task(
    name="classify",
    labels=ClassifyLabels,
    annotation=ClassifyAnnotation,
    prediction=ClassifyPrediction,
    monitor="accuracy",
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=ClassifyData(),
    tta_merger=ClassifyTTA,
    default_parts={"decoder": "linear"},
    on_boxes="box_attributes",
    merge_crops=merge_crops,
    mixing=ClassifyMixing(),
    temper=_temper,
    diagnoser=_diagnoser,
    object_scores=object_scores,
    confidences=confidences,
)
