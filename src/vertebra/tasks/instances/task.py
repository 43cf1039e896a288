"""The instances task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.crops import merge_crops
from vertebra.tasks.instances.data import InstanceData
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.mixing import InstanceMixing
from vertebra.tasks.instances.object_scores import confidences, object_scores
from vertebra.tasks.instances.predictions import from_decoded
from vertebra.tasks.instances.similarity import similarity
from vertebra.tasks.instances.tiles import InstanceTiles
from vertebra.tasks.instances.tta import InstanceTTA
from vertebra.tasks.instances.tv_tensors import InstanceTVTensors
from vertebra.tasks.instances.types import InstancePrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.instances.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _temper(decoded: Any, labels: InstanceLabels, temperature: float) -> Any:
    from vertebra.tasks.temperature import temper_scores

    return temper_scores(decoded, temperature)


def _metric(labels: InstanceLabels) -> TaskMetric:
    from vertebra.tasks.instances.metrics import build_metric

    return build_metric(labels)


def _diagnoser(labels: InstanceLabels) -> Diagnoser:
    from vertebra.tasks.instances.diagnosis import instance_diagnosis

    return instance_diagnosis(labels)


INSTANCES = Task(
    name="instances",
    labels=InstanceLabels,
    annotation=InstanceAnnotation,
    prediction=InstancePrediction,
    monitor="map",
    more_metrics=("map_50",),
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=InstanceData(),
    tta_merger=InstanceTTA,
    default_parts={"neck": "fpn", "decoder": "condinst"},
    boxes_from="detect",
    tile_merger=InstanceTiles,
    has_boxes=True,
    coco_results=True,
    merge_crops=merge_crops,
    mixing=InstanceMixing(),
    tv_tensors=InstanceTVTensors(),
    threshold_in_decoding=True,
    temper=_temper,
    diagnoser=_diagnoser,
    object_scores=object_scores,
    confidences=confidences,
)
