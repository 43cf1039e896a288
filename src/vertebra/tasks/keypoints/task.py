"""The keypoints task."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.crops import merge_crops
from vertebra.tasks.keypoints.data import KeypointData
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.mixing import KeypointMixing
from vertebra.tasks.keypoints.object_scores import object_scores
from vertebra.tasks.keypoints.predictions import from_decoded
from vertebra.tasks.keypoints.similarity import similarity
from vertebra.tasks.keypoints.tiles import KeypointTiles
from vertebra.tasks.keypoints.tta import KeypointTTA
from vertebra.tasks.keypoints.tv_tensors import KeypointTVTensors
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.keypoints.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _metric(labels: KeypointLabels) -> TaskMetric:
    from vertebra.tasks.keypoints.metrics import build_metric

    return build_metric(labels)


def _diagnoser(labels: KeypointLabels) -> Diagnoser:
    from vertebra.tasks.keypoints.diagnosis import KeypointDiagnosis

    return KeypointDiagnosis(labels)


KEYPOINTS = Task(
    name="keypoints",
    labels=KeypointLabels,
    annotation=KeypointAnnotation,
    prediction=KeypointPrediction,
    monitor="oks_map",
    more_metrics=("pck", "error"),
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=KeypointData(),
    tta_merger=KeypointTTA,
    default_parts={"neck": "fpn", "decoder": "heatmap"},
    tile_merger=KeypointTiles,
    has_boxes=True,
    one_object=True,
    coco_results=True,
    merge_crops=merge_crops,
    mixing=KeypointMixing(),
    tv_tensors=KeypointTVTensors(),
    diagnoser=_diagnoser,
    object_scores=object_scores,
)
