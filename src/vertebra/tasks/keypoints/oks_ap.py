"""COCO's average precision of points, by object keypoint similarity (OKS)."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from vertebra.tasks.keypoints.rows import GroundTruthRows, PredictedRows
from vertebra.tasks.metric import named

KEYS = ("oks_map", "oks_map_50", "oks_map_75", "oks_map_medium", "oks_map_large", "oks_mar")


def average_precision(
    predicted: Sequence[PredictedRows], true: Sequence[GroundTruthRows], classes: Sequence[str], sigmas: Sequence[float]
) -> dict[str, float]:
    """Average precision and recall as pycocotools computes them; metrics without ground-truth objects are left out.

    Args:
        predicted, true: the objects of each image.
        classes: names of the classes.
        sigmas: fall-off of each point.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    if not any(ground_truth.counted.any() for ground_truth in true):
        return {}
    if not any(len(rows.scores) for rows in predicted):
        predicted = [_dummy_prediction(true[0]), *predicted[1:]]  # COCO does not accept an empty list of results
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO(_coco_ground_truth(true, classes))
        evaluation = COCOeval_faster(
            coco, coco.loadRes(_coco_results(predicted)), "keypoints", kpt_oks_sigmas=np.array(sigmas, dtype=np.float64)
        )
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    stats = zip(KEYS, evaluation.stats[: len(KEYS)], strict=True)
    metrics = {key: float(value) for key, value in stats if value >= 0}
    names = [classes[number - 1] for number in evaluation.params.catIds]  # only those that occur
    each = evaluation.eval["precision"][:, :, :, 0, -1].transpose(2, 0, 1).reshape(len(names), -1)
    known = each > -1
    means = np.where(known, each, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return metrics | named("oks_map", names, means.tolist(), known.any(axis=1).tolist())


def _dummy_prediction(ground_truth: GroundTruthRows) -> PredictedRows:
    """One object far from all others, which matches nothing."""
    return PredictedRows(np.full((1, ground_truth.points.shape[1], 2), -1e6), np.zeros(1), np.zeros(1, dtype=np.int64))


def _coco_ground_truth(true: Sequence[GroundTruthRows], classes: Sequence[str]) -> dict[str, Any]:
    """The annotations as a COCO file has them; ids of images and classes start at 1."""
    annotations: list[dict[str, Any]] = []
    for image, ground_truth in enumerate(true, start=1):
        for row, points in enumerate(ground_truth.points):
            box = ground_truth.boxes[row]
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": image,
                    "category_id": int(ground_truth.labels[row]) + 1,
                    "iscrowd": int(ground_truth.crowd[row]),
                    "area": float(ground_truth.areas[row]),
                    "bbox": [*box[:2].tolist(), *(box[2:] - box[:2]).tolist()],
                    "keypoints": points.reshape(-1).tolist(),
                    "num_keypoints": int((points[:, 2] > 0).sum()),
                }
            )
    return {
        "images": [{"id": number, "height": 1, "width": 1} for number in range(1, len(true) + 1)],
        "categories": [{"id": number, "name": name} for number, name in enumerate(classes, start=1)],
        "annotations": annotations,
    }


def _coco_results(predicted: Sequence[PredictedRows]) -> list[dict[str, Any]]:
    """The predictions as COCO's list of results."""
    return [
        {
            "image_id": image,
            "category_id": int(rows.labels[row]) + 1,
            "score": float(rows.scores[row]),
            "keypoints": np.pad(points, ((0, 0), (0, 1)), constant_values=1.0).reshape(-1).tolist(),
        }
        for image, rows in enumerate(predicted, start=1)
        for row, points in enumerate(rows.points)
    ]
