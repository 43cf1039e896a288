"""How often each class occurs in each image, for divisions in proportion."""

from __future__ import annotations

from typing import Any

import numpy as np

MAX_COUNTS = 200_000_000  # numbers of 2 bytes of images times classes
MAX_CLASSES = 10_000


def class_counts(column: Any, objects: np.ndarray, classes: int) -> np.ndarray:
    """How often each class occurs in each image, and last 1 for an image without objects.

    Args:
        column: has ``offsets`` (n + 1,) of the objects of each image and their ``labels`` (B,).
        objects: (B,) bool, those that count.

    Returns:
        (n, K + 1) uint16; (n,) int64 of 0 with objects and 1 without where the former takes too much memory or time.
    """
    count = len(column.labeled)
    rows = np.repeat(np.arange(count), np.diff(column.offsets))[objects]
    bare: np.ndarray = np.bincount(rows, minlength=count) == 0
    if count * classes > MAX_COUNTS or classes > MAX_CLASSES:
        return np.asarray(bare, dtype=np.int64)
    cells, occurrences = np.unique(rows * (classes + 1) + column.labels[objects], return_counts=True)
    counts = np.zeros((count, classes + 1), dtype=np.uint16)
    counts.reshape(-1)[cells] = np.minimum(occurrences, np.iinfo(np.uint16).max)
    counts[:, -1] = bare
    return counts
