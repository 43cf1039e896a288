"""The objects of all images of a data set with their masks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.annotations.run_lengths import Region
from vertebra.annotations.scope import LabelScope
from vertebra.annotations.shapes import Shapes
from vertebra.tasks.detect.column import ObjectColumn
from vertebra.tasks.instances.annotation import InstanceAnnotation


@dataclass(frozen=True, eq=False, kw_only=True)
class InstanceColumn(ObjectColumn):
    """The objects of all images, whose masks are drawn on demand.

    Attributes:
        numbers: (B,) int64, the objects' numbers in ``shapes``.
        outlined: (B,) bool, whether an object has a shape there; the mask of any other is its box.
        shapes: outlines and run lengths, shared by all sub-columns.
    """

    per_object: ClassVar[tuple[str, ...]] = (*ObjectColumn.per_object, "numbers", "outlined")

    numbers: np.ndarray
    outlined: np.ndarray
    shapes: Shapes

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        shapes: Shapes,
        boxes: np.ndarray,
        labels: np.ndarray,
        crowd: np.ndarray,
        labeled: np.ndarray,
        annotated: AnnotatedSizes | None = None,
        scope: LabelScope | None = None,
        class_count: int = 0,
    ) -> InstanceColumn:
        """A column from objects in any order; ``rows`` (B,) int64 is the image of each."""
        column = cls(
            offsets=np.zeros(0, dtype=np.int64),
            boxes=boxes.astype(np.float32).reshape(-1, 4),
            labels=labels.astype(np.int64),
            crowd=crowd.astype(bool),
            labeled=labeled,
            annotated=annotated,
            scope=scope,
            class_count=class_count,
            numbers=np.arange(len(rows)),
            outlined=shapes.drawn,
            shapes=shapes,
        )
        return column.sorted_by_image(rows)

    def get(self, row: int, size: tuple[int, int]) -> InstanceAnnotation:
        """The objects of an image; those without a pixel in it are left out.

        Raises:
            DataError: an object's run lengths are for another size, or are damaged; or all were made for another size of the
                image, and cannot be brought over.
        """
        part, change = self.part(row), size_change(self.annotated, row, size)
        boxes = change.boxes(self.boxes[part])
        rles = [
            self.shapes.region(number, size, change) if outlined else Region.of_box(box, size)
            for number, outlined, box in zip(
                self.numbers[part].tolist(), self.outlined[part].tolist(), boxes, strict=True
            )
        ]
        exhaustive = None if self.scope is None else self.scope.of_image(row, self.class_count)
        return InstanceAnnotation.of(rles, self.labels[part], self.crowd[part], size, exhaustive)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: what is outside of the image is not drawn."""
        return {}
