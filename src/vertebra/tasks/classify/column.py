"""The class of each image of a data set, as arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from vertebra.annotations.scope import LabelScope
from vertebra.errors import DataError
from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.classify.labels import ClassifyLabels


@dataclass(frozen=True, eq=False)
class ClassColumn:
    """The class of each image.

    Attributes:
        values: (n,) int64 class ids; for multilabel data (n, K) uint8 of 0 and 1.
        labeled: (n,) bool.
        scope: the classes that are annotated in each image, where they may overlap; None for all classes in all images.
    """

    values: np.ndarray
    labeled: np.ndarray
    scope: LabelScope | None = None

    def get(self, row: int, size: tuple[int, int]) -> ClassifyAnnotation:
        """The class, or the classes, of an image."""
        value = self.values[row]
        if self.values.ndim == 1:
            return ClassifyAnnotation(int(value))
        exhaustive = None if self.scope is None else self.scope.of_image(row, len(value))
        return ClassifyAnnotation(value.astype(np.int64), None if exhaustive is None else exhaustive | (value > 0))

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a class has no position."""
        return {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """Always empty: a class holds for any size."""
        return ""

    def take(self, rows: np.ndarray) -> ClassColumn:
        """The column of some images only."""
        scope = None if self.scope is None else self.scope.take(rows)
        return ClassColumn(self.values[rows], self.labeled[rows], scope)


def classes_of_images(
    rows: np.ndarray,
    ids: np.ndarray,
    annotated: np.ndarray,
    labels: ClassifyLabels,
    name_of: Callable[[int], str],
    where: Path,
    scope: LabelScope | None = None,
) -> ClassColumn:
    """The class, or the set of classes, of each image; for exclusive classes an image without one is not labeled.

    Args:
        rows: (L,) int64, the image of each entry.
        ids: (L,) int64, its class.
        annotated: (n,) bool.
        name_of: returns the file name of an image, for messages.
        scope: the classes of which all labels are given; a class that an image has is known there, too.

    Raises:
        DataError: classes are exclusive, but an image has several.
    """
    count = len(annotated)
    if labels.multilabel:
        values = np.zeros((count, labels.class_count), dtype=np.uint8)
        values[rows, ids] = 1
        return ClassColumn(values, annotated, scope)
    lowest = np.full(count, labels.class_count, dtype=np.int64)
    highest = np.full(count, -1, dtype=np.int64)
    np.minimum.at(lowest, rows, ids)
    np.maximum.at(highest, rows, ids)
    several = np.flatnonzero(highest > lowest)
    if len(several):
        raise DataError(
            f"{where}: {len(several)} images have several classes or objects of several classes, the first is "
            f"{name_of(int(several[0]))}; set multilabel: true on the branch to learn the set of classes in an image"
        )
    return ClassColumn(np.maximum(highest, 0), annotated & (highest >= 0))
