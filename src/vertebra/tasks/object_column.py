"""The objects of all images of a data set, as arrays: what columns of boxes and of points share."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, size_change
from vertebra.annotations.ranges import offsets_of, take_ranges

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
    """

    per_object: ClassVar[tuple[str, ...]] = ("boxes", "labels", "crowd")

    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    labeled: np.ndarray
    annotated: AnnotatedSizes | None = None

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
        return replace(self._picked(picked, offsets=offsets), labeled=self.labeled[rows], annotated=annotated)

    def _picked(self, order: np.ndarray, offsets: np.ndarray) -> Self:
        given = {name: getattr(self, name) for name in self.per_object}
        arrays: dict[str, Any] = {
            name: np.ascontiguousarray(array[order]) for name, array in given.items() if array is not None
        }
        return replace(self, offsets=offsets, **arrays)


def clipped(boxes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Boxes (M, 4) xyxy, clipped to an image of (height, width)."""
    inside: np.ndarray = np.clip(boxes, 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32))
    return inside
