"""COCO's average precision of masks and of their boundaries, by faster-coco-eval."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from vertebra.tasks.detect.coco_ap import KEYS, coco_metrics, limit_images

MAX_PIXELS = 4_000_000  # of an image whose boundaries are compared: they take a quarter of a second for a mask of 12 million pixels


class MaskRows(NamedTuple):
    """The objects of all images, one image after the other.

    Attributes:
        values: (B, 3) float64: the score of a predicted object, or whether an annotated one is a crowd; label; pixels of the mask.
        letters: (T,) uint8, the compressed run lengths of all masks.
        lengths: (B,) int64, the letters of each.
        counts: (images,) int64, the objects of each image.
    """

    values: np.ndarray
    letters: np.ndarray
    lengths: np.ndarray
    counts: np.ndarray


def average_precision(
    predicted: MaskRows,
    true: MaskRows,
    sizes: np.ndarray,
    classes: Sequence[str],
    exhaustive: np.ndarray | None = None,
) -> dict[str, float]:
    """Average precision and recall of masks as pycocotools computes them, and ``boundary_map``; metrics without ground-truth
    objects are left out, and so is ``boundary_map`` where an image has more than `MAX_PIXELS`.

    Args:
        predicted, true: the objects of all images.
        sizes: (images, 2) int64, height and width of each image.
        classes: names of the classes.
        exhaustive: (images, K) bool, see `vertebra.tasks.detect.coco_ap.average_precision`.
    """
    images: list[dict[str, Any]] = [
        {"id": number, "height": height, "width": width}
        for number, (height, width) in enumerate(sizes.tolist(), start=1)
    ]
    limit_images(images, exhaustive)
    partial = exhaustive is not None
    sides = (_entries(true, sizes, "iscrowd"), _entries(predicted, sizes, "score"))
    metrics = coco_metrics(images, sides, classes, "segm", lvis_style=partial)
    small = int(sizes.prod(axis=1).max()) <= MAX_PIXELS
    boundary = coco_metrics(images, sides, classes, "boundary", lvis_style=partial) if small else {}
    return (
        {key: metrics[key] for key in KEYS if key in metrics}
        | ({"boundary_map": boundary["map"]} if "map" in boundary else {})
        | {key: value for key, value in metrics.items() if key not in KEYS}
    )


def _entries(rows: MaskRows, sizes: np.ndarray, field: str) -> list[dict[str, Any]]:
    """Rows as entries of a COCO file; ids of images, classes and objects start at 1."""
    ends = np.cumsum(rows.lengths)
    letters = rows.letters.tobytes()
    texts = [letters[start:end] for start, end in zip((ends - rows.lengths).tolist(), ends.tolist(), strict=True)]
    images = np.repeat(np.arange(len(rows.counts)), rows.counts)
    values = rows.values[:, 0].tolist() if field == "score" else rows.values[:, 0].astype(np.int64).tolist()
    columns = zip(
        images.tolist(), (rows.values[:, 1].astype(np.int64) + 1).tolist(), rows.values[:, 2].tolist(), values, texts,
        strict=True,
    )  # fmt: skip
    return [
        {
            "id": number,
            "image_id": image + 1,
            "category_id": label,
            "segmentation": {"size": sizes[image].tolist(), "counts": text},
            "area": area,
            "iscrowd": 0,
            field: value,
        }
        for number, (image, label, area, value, text) in enumerate(columns, start=1)
    ]
