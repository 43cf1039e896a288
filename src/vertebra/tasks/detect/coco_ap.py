"""COCO's average precision of boxes, and of other objects, by faster-coco-eval."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np

from vertebra.tasks.metric import named

KEYS = {"map": 0, "map_50": 1, "map_75": 2, "mar_100": 8, "map_small": 3, "map_medium": 4, "map_large": 5}
"""The index of each metric in COCO's summary."""


def average_precision(
    predicted: np.ndarray,
    true: np.ndarray,
    counts: np.ndarray,
    classes: Sequence[str],
    exhaustive: np.ndarray | None = None,
) -> dict[str, float]:
    """Average precision and recall as pycocotools computes them; metrics without ground-truth objects are left out.

    Args:
        predicted: (F, 6) xyxy, score and label of the boxes of all images, one image after the other.
        true: (T, 6) xyxy, whether it is a crowd, and label.
        counts: (images, 2) int64, the number of rows of each image in ``predicted`` and ``true``.
        classes: names of the classes.
        exhaustive: (images, K) bool, the classes of which an image has all annotations; None for all. Of the others, predictions
            without a match do not count, as in Gupta et al., LVIS, CVPR 2019, arXiv 1908.03195.
    """
    images = image_entries(len(counts), exhaustive)
    sides = (_annotations(true, counts[:, 1], "iscrowd"), _annotations(predicted, counts[:, 0], "score"))
    return coco_metrics(images, sides, classes, "bbox", lvis_style=exhaustive is not None)


def image_entries(count: int, exhaustive: np.ndarray | None) -> list[dict[str, Any]]:
    """Entries of images, with ids from 1 and, unless ``exhaustive`` is None, LVIS's lists of classes; see `average_precision`."""
    images: list[dict[str, Any]] = [{"id": number, "height": 1, "width": 1} for number in range(1, count + 1)]
    limit_images(images, exhaustive)
    return images


def limit_images(images: list[dict[str, Any]], exhaustive: np.ndarray | None) -> None:
    """Adds LVIS's lists of the classes of which images have all annotations, see `average_precision`, to entries of images."""
    for image, scope in zip(images, () if exhaustive is None else exhaustive, strict=exhaustive is not None):
        image["neg_category_ids"] = (np.flatnonzero(scope) + 1).tolist()
        image["not_exhaustive_category_ids"] = (np.flatnonzero(~scope) + 1).tolist()


def coco_metrics(
    images: list[dict[str, Any]],
    sides: tuple[list[dict[str, Any]], list[dict[str, Any]]],
    classes: Sequence[str],
    overlap: Literal["bbox", "segm", "boundary"],
    *,
    lvis_style: bool = False,
    overlaps: Callable[[int, int], Any] | None = None,
) -> dict[str, float]:
    """Average precision and recall of entries of COCO files; metrics without ground-truth objects are left out.

    Args:
        images: entries with ``id``, ``height`` and ``width``.
        sides: entries of the annotated and of the predicted objects.
        classes: names of the classes; the id of the first is 1.
        overlap: of boxes, of masks, or the smaller of those of masks and of their boundaries.
        lvis_style: whether the images have LVIS's ``neg_category_ids`` and ``not_exhaustive_category_ids``, which are heeded.
        overlaps: returns the overlaps of an image and class by their ids, (F, T) with the best prediction first, in place of
            those of the boxes; an empty list where there are none.
    """
    from faster_coco_eval import COCO, COCOeval_faster

    categories = [{"id": number, "name": name, "frequency": "f"} for number, name in enumerate(classes, start=1)]
    with contextlib.redirect_stdout(io.StringIO()):
        indexed = []
        for entries in sides:
            side = COCO()
            side.dataset = {"images": images, "categories": categories, "annotations": entries}
            side.createIndex()
            indexed.append(side)
        evaluation = COCOeval_faster(*indexed, overlap, lvis_style=lvis_style)
        if overlaps is not None:
            evaluation.computeIoU = overlaps
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    metrics = {
        key: float(evaluation.stats[position]) for key, position in KEYS.items() if evaluation.stats[position] >= 0
    }
    each = evaluation.eval["precision"][:, :, :, 0, -1].transpose(2, 0, 1).reshape(len(classes), -1)
    known = each > -1
    means = np.where(known, each, 0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
    return metrics | named("map", list(classes), means.tolist(), known.any(axis=1).tolist())


def _annotations(rows: np.ndarray, counts: np.ndarray, field: str) -> list[dict[str, Any]]:
    """Rows as entries of a COCO file; ids of images, classes and boxes start at 1."""
    boxes = rows[:, :4].astype(np.float64)
    sides = boxes[:, 2:] - boxes[:, :2]
    values = rows[:, 4].tolist() if field == "score" else rows[:, 4].astype(np.int64).tolist()
    columns = zip(
        np.repeat(np.arange(1, len(counts) + 1), counts).tolist(),
        (rows[:, 5].astype(np.int64) + 1).tolist(),
        np.concatenate([boxes[:, :2], sides], axis=1).tolist(),
        sides.prod(axis=1).tolist(),
        values,
        strict=True,
    )
    return [
        {"id": number, "image_id": image, "category_id": label, "bbox": box, "area": area, "iscrowd": 0, field: value}
        for number, (image, label, box, area, value) in enumerate(columns, start=1)
    ]
