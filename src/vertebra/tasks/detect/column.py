"""The boxes of all images of a data set, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.octagons import octagons
from vertebra.tasks.object_column import ObjectColumn, clipped


@dataclass(frozen=True, eq=False, kw_only=True)
class BoxColumn(ObjectColumn):
    """The boxes of all images, concatenated.

    Attributes:
        diagonals: (B, 4) float32, how far the outline of each object reaches along the diagonals, see
            `vertebra.tasks.detect.octagons`; nan for an object without an outline. None where this is not needed.
    """

    per_object: ClassVar[tuple[str, ...]] = (*ObjectColumn.per_object, "diagonals")

    diagonals: np.ndarray | None = None

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        crowd: np.ndarray,
        labeled: np.ndarray,
        annotated: AnnotatedSizes | None = None,
        diagonals: np.ndarray | None = None,
    ) -> BoxColumn:
        """A column from boxes in any order.

        Args:
            rows: (B,) int64, the image of each box.
            labeled: (n,) bool for all images.
        """
        column = cls(
            offsets=np.zeros(0, dtype=np.int64),
            boxes=boxes.astype(np.float32).reshape(-1, 4),
            labels=labels.astype(np.int64),
            crowd=crowd.astype(bool),
            labeled=labeled,
            annotated=annotated,
            diagonals=None if diagonals is None else diagonals.astype(np.float32),
        )
        return column.sorted_by_image(rows)

    def get(self, row: int, size: tuple[int, int]) -> DetectAnnotation:
        """The boxes of an image, clipped to it; boxes outside are left out.

        Raises:
            DataError: they were made for another size of the image, and cannot be brought over.
        """
        part, change = self.part(row), size_change(self.annotated, row, size)
        boxes = clipped(change.boxes(self.boxes[part]), size)
        outlines = None
        if self.diagonals is not None:
            outlines = change.points(octagons(self.boxes[part], self.diagonals[part]))
        whole = DetectAnnotation(boxes, self.labels[part], self.crowd[part], outlines)
        return whole.take((boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1]))

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts boxes that extend beyond an image of this size by more than a pixel."""
        boxes = size_change(self.annotated, row, size).boxes(self.boxes[self.part(row)])
        limit = np.array([size[1], size[0], size[1], size[0]]) + 1
        return {"box": int((boxes > limit).any(axis=1).sum())} if (boxes > limit).any() else {}
