"""The objects of all images of a data set with the value of one attribute, as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from vertebra.tasks.box_attributes.annotation import AttributeAnnotation, labeled_objects
from vertebra.tasks.detect.column import BoxColumn


@dataclass(frozen=True, eq=False, kw_only=True)
class AttributeColumn:
    """The objects of all images with their values, concatenated.

    Attributes:
        boxes: the boxes; their labels are the objects' numbers in ``classes`` and ``values``.
        classes: (B,) int64 class ids of the objects.
        values: (B,) int64 or (B, K) int8, see `vertebra.tasks.box_attributes.annotation.AttributeAnnotation`.
    """

    boxes: BoxColumn
    classes: np.ndarray
    values: np.ndarray

    @property
    def labeled(self) -> np.ndarray:
        """(n,) bool, the images that are annotated."""
        return self.boxes.labeled

    @property
    def offsets(self) -> np.ndarray:
        """(n + 1,) int64, of the objects of each image."""
        return self.boxes.offsets

    @property
    def known(self) -> np.ndarray:
        """(B,) bool in the order of the boxes, the objects that are labeled for the attribute and do not mark a crowd."""
        known: np.ndarray = labeled_objects(self.values)[self.boxes.labels] & ~self.boxes.crowd
        return known

    @property
    def ordered(self) -> np.ndarray:
        """The values in the order of the boxes."""
        ordered: np.ndarray = self.values[self.boxes.labels]
        return ordered

    def get(self, row: int, size: tuple[int, int]) -> AttributeAnnotation:
        """The objects of an image, clipped to it.

        Raises:
            DataError: they were made for another size of the image, and cannot be brought over.
        """
        objects = self.boxes.get(row, size)
        numbers = objects.labels
        return AttributeAnnotation(replace(objects, labels=self.classes[numbers]), self.values[numbers])

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts boxes that extend beyond an image of this size by more than a pixel."""
        return self.boxes.count_out_of_bounds(row, size)

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """How annotations are brought to the image's size."""
        return self.boxes.adapted(row, size)

    def take(self, rows: np.ndarray) -> AttributeColumn:
        """The column of some images only."""
        return replace(self, boxes=self.boxes.take(rows))
