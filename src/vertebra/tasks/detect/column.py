"""The objects of all images of a data set, as arrays: what columns of boxes and of points share, and the column of boxes."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.annotations.ranges import offsets_of, take_ranges
from vertebra.annotations.scope import LabelScope
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.detect.octagons import octagons

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False, kw_only=True)
class ObjectColumn:
    """The objects of all images, concatenated.

    Attributes:
        per_object: the names of the arrays with an entry for each object; optional ones may be None.
        offsets: (n + 1,) int64: the objects of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        boxes: (B, 4) float32, xyxy in image pixels.
        labels: (B,) int64 class ids.
        crowd: (B,) bool, for objects that mark a crowd or a region to ignore.
        labeled: (n,) bool.
        annotated: the sizes that the annotations were made for; None if they are not known.
        scope: the exhaustively annotated classes of each image; None for all classes in all images.
        class_count: number of classes, read with ``scope`` only.
    """

    per_object: ClassVar[tuple[str, ...]] = ("boxes", "labels", "crowd")

    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    labeled: np.ndarray
    annotated: AnnotatedSizes | None = None
    scope: LabelScope | None = None
    class_count: int = 0

    def sorted_by_image(self, rows: np.ndarray) -> Self:
        """The column of objects in any order, whose offsets are not known yet; ``rows`` (B,) int64 is the image of each."""
        return self._picked(np.argsort(rows, kind="stable"), offsets=offsets_of(rows, len(self.labeled)))

    def part(self, row: int) -> slice:
        """The objects of an image."""
        return slice(int(self.offsets[row]), int(self.offsets[row + 1]))

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """How annotations are brought to the image's size."""
        return size_change(self.annotated, row, size).done

    def take(self, rows: np.ndarray) -> Self:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        annotated = None if self.annotated is None else self.annotated.take(rows)
        scope = None if self.scope is None else self.scope.take(rows)
        column = self._picked(picked, offsets=offsets)
        return replace(column, labeled=self.labeled[rows], annotated=annotated, scope=scope)

    def _picked(self, order: np.ndarray, offsets: np.ndarray) -> Self:
        given = {name: getattr(self, name) for name in self.per_object}
        arrays: dict[str, Any] = {
            name: np.ascontiguousarray(array[order]) for name, array in given.items() if array is not None
        }
        return replace(self, offsets=offsets, **arrays)


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
        scope: LabelScope | None = None,
        class_count: int = 0,
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
            scope=scope,
            class_count=class_count,
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
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        outlines = None if outlines is None else outlines[kept]
        exhaustive = None if self.scope is None else self.scope.of_image(row, self.class_count)
        return DetectAnnotation(boxes[kept], self.labels[part][kept], self.crowd[part][kept], outlines, exhaustive)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts boxes that extend beyond an image of this size by more than a pixel."""
        boxes = size_change(self.annotated, row, size).boxes(self.boxes[self.part(row)])
        limit = np.array([size[1], size[0], size[1], size[0]]) + 1
        return {"box": int((boxes > limit).any(axis=1).sum())} if (boxes > limit).any() else {}


def clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (M, 4) xyxy, clipped to an image of (height, width)."""
    inside: np.ndarray = np.clip(boxes, 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32))
    return inside
