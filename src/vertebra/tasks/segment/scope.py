"""Masks in which only some classes are annotated.

Where classes may overlap, a pixel that is not of a class counts for it only if the class is exhaustively annotated; else it is
ignored for this class. Where classes exclude each other, all pixels of other classes have one value, `SegmentLabels.unannotated`:
such a pixel is none of the exhaustively annotated classes, and any of the others.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from vertebra.annotations.scope import LabelScope, intersected
from vertebra.tasks.segment.annotation import SegmentAnnotation, compact
from vertebra.tasks.segment.labels import SegmentLabels, unannotated_value


def limited_to(
    scope: LabelScope | None, row: int, mask: np.ndarray, ignore_index: int, class_count: int
) -> SegmentAnnotation:
    """The annotation of an image of a data set; ``scope`` has the classes that are annotated in each, None for all."""
    exhaustive = None if scope is None else scope.of_image(row, class_count)
    return _limited(mask, exhaustive, ignore_index, unannotated_value(class_count, ignore_index))


def limited(mask: np.ndarray, exhaustive: np.ndarray | None, labels: SegmentLabels) -> SegmentAnnotation:
    """The annotation of an image in which only some classes are annotated.

    Args:
        mask: see `SegmentAnnotation`; changed where classes may overlap.
        exhaustive: (K,) bool, the classes that are; None for all.
        labels: of the mask.
    """
    return _limited(mask, exhaustive, labels.ignore_index, labels.unannotated)


def _limited(mask: np.ndarray, exhaustive: np.ndarray | None, ignore_index: int, unannotated: int) -> SegmentAnnotation:
    if exhaustive is None:
        return SegmentAnnotation(mask)
    if mask.ndim == 3:
        for plane in np.flatnonzero(~exhaustive).tolist():
            mask[plane][mask[plane] == 0] = ignore_index
        return SegmentAnnotation(mask, exhaustive)
    ids = np.where(np.isin(mask, np.flatnonzero(~exhaustive)), unannotated, mask)
    return SegmentAnnotation(compact(ids, ignore_index), exhaustive)


def of_several(mask: np.ndarray, parts: Sequence[SegmentAnnotation], labels: SegmentLabels) -> SegmentAnnotation:
    """The annotation of a mask that is made of those of several images: of exclusive classes, those that are annotated in all."""
    if mask.ndim == 3:
        return SegmentAnnotation(mask)
    return limited(mask, intersected([part.exhaustive for part in parts]), labels)


def certain_mask(annotation: SegmentAnnotation, labels: SegmentLabels) -> np.ndarray:
    """The mask, in which pixels of no annotated class are ignored."""
    mask = np.asarray(annotation.mask)
    if annotation.exhaustive is None or mask.ndim == 3:
        return mask
    return np.where(mask == labels.unannotated, labels.ignore_index, mask)
