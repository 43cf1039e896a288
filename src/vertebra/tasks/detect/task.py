"""The detect task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.crops import merge_crops
from vertebra.tasks.detect.data import DetectData
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.mixing import DetectMixing
from vertebra.tasks.detect.object_scores import confidences, object_scores
from vertebra.tasks.detect.predictions import from_decoded
from vertebra.tasks.detect.similarity import similarity
from vertebra.tasks.detect.tiles import DetectTiles
from vertebra.tasks.detect.tta import DetectTTA
from vertebra.tasks.detect.tv_tensors import DetectTVTensors
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.detect.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _temper(decoded: Any, labels: DetectLabels, temperature: float) -> Any:
    from vertebra.tasks.temperature import temper_scores

    return temper_scores(decoded, temperature)


def _metric(labels: DetectLabels) -> TaskMetric:
    from vertebra.tasks.detect.metrics import build_metric

    return build_metric(labels)


def _diagnoser(labels: DetectLabels) -> Diagnoser:
    from vertebra.tasks.detect.diagnosis import DetectDiagnosis

    return DetectDiagnosis(labels)


DETECT = Task(
    name="detect",
    labels=DetectLabels,
    annotation=DetectAnnotation,
    prediction=DetectPrediction,
    monitor="map",
    more_metrics=("map_50",),
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=DetectData(),
    tta_merger=DetectTTA,
    default_parts={"neck": "fpn", "decoder": "retinanet"},
    tile_merger=DetectTiles,
    has_boxes=True,
    coco_results=True,
    merge_crops=merge_crops,
    mixing=DetectMixing(),
    tv_tensors=DetectTVTensors(),
    temper=_temper,
    diagnoser=_diagnoser,
    object_scores=object_scores,
    confidences=confidences,
)
