"""The box_attributes task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation
from vertebra.tasks.box_attributes.data import AttributeData
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.mixing import AttributeMixing
from vertebra.tasks.box_attributes.predictions import from_decoded
from vertebra.tasks.box_attributes.similarity import similarity
from vertebra.tasks.box_attributes.tiles import AttributeTiles
from vertebra.tasks.box_attributes.tta import AttributeTTA
from vertebra.tasks.box_attributes.tv_tensors import AttributeTVTensors
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.box_attributes.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _temper(decoded: Any, labels: AttributeLabels, temperature: float) -> Any:
    from vertebra.tasks.temperature import temper_values

    return temper_values(decoded, labels.multilabel, temperature)


def _metric(labels: AttributeLabels) -> TaskMetric:
    from vertebra.tasks.box_attributes.metrics import build_metric

    return build_metric(labels)


def _confidences(prediction: AttributePrediction, annotation: AttributeAnnotation) -> Any:
    from vertebra.tasks.box_attributes.matching import confidences

    return confidences(prediction, annotation)


def _diagnoser(labels: AttributeLabels) -> Diagnoser:
    from vertebra.tasks.box_attributes.diagnosis import AttributeDiagnosis

    return AttributeDiagnosis(labels)


ATTRIBUTES = Task(
    name="box_attributes",
    labels=AttributeLabels,
    annotation=AttributeAnnotation,
    prediction=AttributePrediction,
    monitor="joint_map",
    more_metrics=("joint_map_50", "accuracy"),
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=AttributeData(),
    tta_merger=AttributeTTA,
    default_parts={"decoder": "roi_head"},
    tile_merger=AttributeTiles,
    of_boxes=True,
    mixing=AttributeMixing(),
    tv_tensors=AttributeTVTensors(),
    temper=_temper,
    confidences=_confidences,
    diagnoser=_diagnoser,
)
