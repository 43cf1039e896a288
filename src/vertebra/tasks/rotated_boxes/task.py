"""The task of rotated boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.rotated_boxes.annotation import RotatedBoxAnnotation
from vertebra.tasks.rotated_boxes.crops import merge_crops
from vertebra.tasks.rotated_boxes.data import RotatedBoxData
from vertebra.tasks.rotated_boxes.labels import RotatedBoxLabels
from vertebra.tasks.rotated_boxes.mixing import RotatedBoxMixing
from vertebra.tasks.rotated_boxes.predictions import from_decoded
from vertebra.tasks.rotated_boxes.rotated_pairs import confidences, object_scores
from vertebra.tasks.rotated_boxes.similarity import similarity
from vertebra.tasks.rotated_boxes.tiles import RotatedBoxTiles
from vertebra.tasks.rotated_boxes.tta import RotatedBoxTTA
from vertebra.tasks.rotated_boxes.tv_tensors import RotatedBoxTVTensors
from vertebra.tasks.rotated_boxes.types import RotatedBoxPrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.rotated_boxes.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _temper(decoded: Any, labels: RotatedBoxLabels, temperature: float) -> Any:
    from vertebra.tasks.temperature import temper_scores

    return temper_scores(decoded, temperature)


def _metric(labels: RotatedBoxLabels) -> TaskMetric:
    from vertebra.tasks.rotated_boxes.metrics import build_metric

    return build_metric(labels)


def _diagnoser(labels: RotatedBoxLabels) -> Diagnoser:
    from vertebra.tasks.rotated_boxes.diagnosis import rotated_diagnosis

    return rotated_diagnosis(labels)


ROTATED_BOXES = Task(
    name="rotated_boxes",
    labels=RotatedBoxLabels,
    annotation=RotatedBoxAnnotation,
    prediction=RotatedBoxPrediction,
    monitor="map",
    more_metrics=("map_50",),
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=RotatedBoxData(),
    tta_merger=RotatedBoxTTA,
    default_parts={"neck": "fpn", "decoder": "rotated_fcos"},
    tile_merger=RotatedBoxTiles,
    has_boxes=True,
    coco_results=True,
    merge_crops=merge_crops,
    mixing=RotatedBoxMixing(),
    tv_tensors=RotatedBoxTVTensors(),
    temper=_temper,
    diagnoser=_diagnoser,
    object_scores=object_scores,
    confidences=confidences,
)
