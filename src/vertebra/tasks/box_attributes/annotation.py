"""The annotation of one image for the box_attributes task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from vertebra.tasks.detect.annotation import DetectAnnotation


@dataclass(frozen=True, eq=False)
class AttributeAnnotation:
    """The objects in an image with the value of one attribute; an image without objects has M = 0.

    Attributes:
        objects: their boxes; labels are ids of ``AttributeLabels.box_classes``.
        values: (M,) int64 class ids, -1 for an object without a value; for several values (M, K) int8 of 0 and 1, all -1 for an
            object that is not labeled.
    """

    objects: DetectAnnotation
    values: np.ndarray

    @property
    def known(self) -> np.ndarray:
        """(M,) bool, the objects that are labeled for the attribute and do not mark a crowd."""
        labeled: np.ndarray = labeled_objects(self.values) & ~self.objects.crowd
        return labeled

    @property
    def numbered(self) -> DetectAnnotation:
        """The objects with their row as label, which goes where the box goes; see `follow`."""
        return numbered([self])[0]


def labeled_objects(values: np.ndarray) -> np.ndarray:
    """(M,) bool, the objects that have a value, see `AttributeAnnotation`."""
    return np.asarray((values >= 0).all(axis=tuple(range(1, values.ndim))))


def numbered(annotations: Sequence[AttributeAnnotation]) -> list[DetectAnnotation]:
    """The objects of several images, with their row in all of them as label."""
    firsts = np.cumsum([0, *(len(each.values) for each in annotations)])
    return [
        replace(each.objects, labels=np.arange(first, first + len(each.values)))
        for each, first in zip(annotations, firsts[:-1].tolist(), strict=True)
    ]


def follow(moved: DetectAnnotation, annotations: Sequence[AttributeAnnotation]) -> AttributeAnnotation:
    """The objects that remain of `numbered` ones after boxes were moved, joined or left out, with classes and values."""
    rows = moved.labels
    labels = np.concatenate([each.objects.labels for each in annotations])[rows]
    values = np.concatenate([each.values for each in annotations])[rows]
    return AttributeAnnotation(replace(moved, labels=labels), values)
