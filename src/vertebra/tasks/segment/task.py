"""The segment task."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from vertebra.tasks.segment.annotation import SegmentAnnotation
from vertebra.tasks.segment.data import SegmentData
from vertebra.tasks.segment.draw import mask_colors
from vertebra.tasks.segment.labels import SegmentLabels
from vertebra.tasks.segment.mixing import SegmentMixing
from vertebra.tasks.segment.object_scores import confidences
from vertebra.tasks.segment.predictions import from_decoded
from vertebra.tasks.segment.similarity import similarity
from vertebra.tasks.segment.tiles import SegmentTiles
from vertebra.tasks.segment.tta import SegmentTTA
from vertebra.tasks.segment.tv_tensors import SegmentTVTensors
from vertebra.tasks.segment.types import SegmentPrediction
from vertebra.tasks.task import Task

if TYPE_CHECKING:
    from vertebra.tasks.diagnosis import Diagnoser
    from vertebra.tasks.metric import TaskMetric


def _to_image(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.segment.to_image_coords import to_image

    return to_image(decoded, geometry, size)


def _class_map(decoded: Any, geometry: Any, size: Any) -> Any:
    from vertebra.tasks.segment.to_image_coords import class_map

    return class_map(decoded, geometry, size)


def _temper(decoded: Any, labels: SegmentLabels, temperature: float) -> Any:
    from vertebra.tasks.temperature import temper_classes

    return temper_classes(decoded, labels.multilabel, temperature)


def _metric(labels: SegmentLabels) -> TaskMetric:
    from vertebra.tasks.segment.metrics import build_metric

    return build_metric(labels)


def _diagnoser(labels: SegmentLabels) -> Diagnoser:
    from vertebra.tasks.segment.diagnosis import SegmentDiagnosis

    return SegmentDiagnosis(labels)


SEGMENT = Task(
    name="segment",
    labels=SegmentLabels,
    annotation=SegmentAnnotation,
    prediction=SegmentPrediction,
    monitor="mean_iou",
    from_decoded=from_decoded,
    similarity=similarity,
    to_image=_to_image,
    metric=_metric,
    data=SegmentData(),
    tta_merger=SegmentTTA,
    default_parts={"decoder": "upernet"},
    tile_merger=SegmentTiles,
    from_decoded_with_probabilities=partial(from_decoded, keep_probabilities=True),
    class_map=_class_map,
    coco_results=True,
    mask_colors=mask_colors,
    mixing=SegmentMixing(),
    tv_tensors=SegmentTVTensors(),
    threshold_in_decoding=True,
    temper=_temper,
    diagnoser=_diagnoser,
    confidences=confidences,
)
