"""COCO's average precision by the IoU of rotated boxes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from vertebra.geometry.rectangles import areas, hulls
from vertebra.tasks.detect.coco_ap import coco_metrics, image_entries
from vertebra.tasks.rotated_boxes.rotated_pairs import rotated_overlaps

MAX_DETECTIONS = 100  # of a class and image, as in COCO


def average_precision(
    predicted: np.ndarray,
    true: np.ndarray,
    counts: np.ndarray,
    classes: Sequence[str],
    exhaustive: np.ndarray | None = None,
) -> dict[str, float]:
    """Average precision and recall by COCO's rules, with the IoU and the area of the rotated boxes.

    Args:
        predicted: (F, 10): four corners, score and label of the boxes of all images, one image after the other.
        true: (T, 10): four corners, whether it is a crowd, and label.
        counts: (images, 2) int64, the number of rows of each image in ``predicted`` and ``true``.
        classes: names of the classes.
        exhaustive: as in `vertebra.tasks.detect.coco_ap.average_precision`.
    """
    groups = _groups(predicted, counts[:, 0]), _groups(true, counts[:, 1])
    overlaps = partial(_overlaps, predicted, true, groups)
    sides = (_entries(true, counts[:, 1], "iscrowd"), _entries(predicted, counts[:, 0], "score"))
    images = image_entries(len(counts), exhaustive)
    return coco_metrics(images, sides, classes, "bbox", lvis_style=exhaustive is not None, overlaps=overlaps)


def _overlaps(
    predicted: np.ndarray,
    true: np.ndarray,
    groups: tuple[dict[tuple[int, int], np.ndarray], dict[tuple[int, int], np.ndarray]],
    image: int,
    category: int,
) -> Any:
    """The overlaps of one image and class, predictions best first; an empty list where either side has none."""
    first, second = (group.get((image, category)) for group in groups)
    if first is None or second is None:
        return []
    best = first[np.argsort(-predicted[first, 8], kind="stable")][:MAX_DETECTIONS]
    corners, true_corners = predicted[best, :8].reshape(-1, 4, 2), true[second, :8].reshape(-1, 4, 2)
    return rotated_overlaps(corners, true_corners, true[second, 8] > 0)


def _groups(rows: np.ndarray, counts: np.ndarray) -> dict[tuple[int, int], np.ndarray]:
    """The numbers of the rows of each image and class, by ids from 1."""
    images = np.repeat(np.arange(1, len(counts) + 1), counts)
    labels = rows[:, 9].astype(np.int64) + 1
    order = np.lexsort((labels, images))
    keys = np.stack([images, labels], axis=1)[order]
    if not len(keys):
        return {}
    starts = np.flatnonzero(np.append(True, (keys[1:] != keys[:-1]).any(axis=1)))
    parts = np.split(order, starts[1:])
    return {(int(keys[start, 0]), int(keys[start, 1])): part for start, part in zip(starts, parts, strict=True)}


def _entries(rows: np.ndarray, counts: np.ndarray, field: str) -> list[dict[str, Any]]:
    """Rows as entries of a COCO file, with the upright boxes, which are not compared, and the area of the rotated ones."""
    corners = rows[:, :8].astype(np.float64).reshape(-1, 4, 2)
    boxes = hulls(corners) if len(corners) else np.zeros((0, 4))
    boxes[:, 2:] -= boxes[:, :2]
    values = rows[:, 8].tolist() if field == "score" else rows[:, 8].astype(np.int64).tolist()
    columns = zip(
        np.repeat(np.arange(1, len(counts) + 1), counts).tolist(),
        (rows[:, 9].astype(np.int64) + 1).tolist(),
        boxes.tolist(),
        areas(corners).tolist(),
        values,
        strict=True,
    )
    return [
        {"id": number, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": 0, field: value}
        for number, (image, label, box, area, value) in enumerate(columns, start=1)
    ]
