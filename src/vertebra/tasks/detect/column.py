"""The boxes of all images of a data set, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.annotations.ranges import offsets_of, take_ranges
from vertebra.tasks.detect.annotation import DetectAnnotation


@dataclass(frozen=True, eq=False)
class BoxColumn:
    """The boxes of all images, concatenated.

    Attributes:
        offsets: (n + 1,) int64: the boxes of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        boxes: (B, 4) float32, xyxy in image pixels.
        labels: (B,) int64 class ids.
        crowd: (B,) bool, for boxes that mark a crowd or a region to ignore.
        labeled: (n,) bool.
        annotated: the sizes that boxes were made for; None if they are not known.
    """

    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    labeled: np.ndarray
    annotated: AnnotatedSizes | None = None

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        crowd: np.ndarray,
        labeled: np.ndarray,
        annotated: AnnotatedSizes | None = None,
    ) -> BoxColumn:
        """A column from boxes in any order.

        Args:
            rows: (B,) int64, the image of each box.
            labeled: (n,) bool for all images.
        """
        order = np.argsort(rows, kind="stable")
        return cls(
            offsets_of(rows, len(labeled)),
            np.ascontiguousarray(boxes[order], dtype=np.float32).reshape(-1, 4),
            labels[order].astype(np.int64),
            crowd[order].astype(bool),
            labeled,
            annotated,
        )

    def get(self, row: int, size: tuple[int, int]) -> DetectAnnotation:
        """The boxes of an image, clipped to it; boxes outside are left out.

        Raises:
            DataError: they were made for another size of the image, and cannot be brought over.
        """
        part = slice(self.offsets[row], self.offsets[row + 1])
        boxes = size_change(self.annotated, row, size).boxes(self.boxes[part])
        boxes = np.clip(boxes, 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32))
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return DetectAnnotation(boxes[kept], self.labels[part][kept], self.crowd[part][kept])

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts boxes that extend beyond an image of this size by more than a pixel."""
        boxes = self.boxes[self.offsets[row] : self.offsets[row + 1]]
        boxes = size_change(self.annotated, row, size).boxes(boxes)
        limit = np.array([size[1], size[0], size[1], size[0]]) + 1
        return {"box": int((boxes > limit).any(axis=1).sum())} if (boxes > limit).any() else {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """How annotations are brought to the image's size."""
        return size_change(self.annotated, row, size).done

    def take(self, rows: np.ndarray) -> BoxColumn:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        annotated = None if self.annotated is None else self.annotated.take(rows)
        return BoxColumn(
            offsets, self.boxes[picked], self.labels[picked], self.crowd[picked], self.labeled[rows], annotated
        )
