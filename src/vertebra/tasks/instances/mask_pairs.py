"""Predicted and annotated masks of one image, with the pairs that overlap (numpy only)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.annotations.run_lengths import Region
from vertebra.tasks.detect.box_pairs import BoxPairs, ImageObjects, kept_detections, pair_objects
from vertebra.tasks.instances.annotation import InstanceAnnotation
from vertebra.tasks.instances.types import InstancePrediction


def mask_pairs_of_image(prediction: InstancePrediction, annotation: InstanceAnnotation) -> BoxPairs:
    """The objects of one image, and the pairs whose masks overlap."""
    kept = kept_detections(prediction.scores, prediction.class_ids)
    crowd = annotation.crowd.astype(bool)
    return pair_objects(
        ImageObjects(prediction.boxes[kept].astype(np.float64), prediction.scores[kept], prediction.class_ids[kept]),
        ImageObjects(annotation.boxes.astype(np.float64), crowd, annotation.labels),
        mask_overlaps(prediction.rles[kept].tolist(), annotation.rles, crowd),
        annotation.exhaustive,
    )


def mask_overlaps(first: Sequence[Region], second: Sequence[Region], crowd: np.ndarray | None = None) -> np.ndarray:
    """The intersection over union of each pair of masks of one image.

    Args:
        first, second: M and L masks.
        crowd: (L,) bool, those whose intersection is divided by the area of the first mask alone; None for none.

    Returns:
        (M, L) float64.
    """
    from faster_coco_eval.core import mask as coco_mask

    if not len(first) or not len(second):
        return np.zeros((len(first), len(second)))
    flags = [0] * len(second) if crowd is None else [int(flag) for flag in crowd]
    overlaps = coco_mask.iou(list(map(_entry, first)), list(map(_entry, second)), flags)
    return np.asarray(overlaps, dtype=np.float64).reshape(len(first), len(second))


def _entry(region: Region) -> dict[str, Any]:
    coded = region.to_coco()
    return {**coded, "counts": coded["counts"].encode("ascii")}
