"""The objects of all images of a data set with their points, as arrays."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, SizeChange, size_change
from vertebra.tasks.detect.column import ObjectColumn, clipped
from vertebra.tasks.keypoints.annotation import KeypointAnnotation, clear_points_outside


@dataclass(frozen=True, eq=False, kw_only=True)
class PointColumn(ObjectColumn):
    """The objects of all images with their points, concatenated.

    Attributes:
        points: (B, K, 3) float32 of x, y in image pixels and visibility.
        areas: (B,) float32 square pixels.
    """

    per_object: ClassVar[tuple[str, ...]] = (*ObjectColumn.per_object, "points", "areas")

    points: np.ndarray
    areas: np.ndarray

    @classmethod
    def of(
        cls,
        rows: np.ndarray,
        points: np.ndarray,
        boxes: np.ndarray,
        labels: np.ndarray,
        crowd: np.ndarray,
        areas: np.ndarray,
        labeled: np.ndarray,
        annotated: AnnotatedSizes | None = None,
    ) -> PointColumn:
        """A column from objects in any order; ``rows`` (B,) int64 is the image of each."""
        column = cls(
            offsets=np.zeros(0, dtype=np.int64),
            points=points.astype(np.float32),
            boxes=boxes.astype(np.float32).reshape(-1, 4),
            labels=labels.astype(np.int64),
            crowd=crowd.astype(bool),
            areas=areas.astype(np.float32),
            labeled=labeled,
            annotated=annotated,
        )
        return column.sorted_by_image(rows)

    def get(self, row: int, size: tuple[int, int]) -> KeypointAnnotation:
        """The objects of an image; boxes are clipped to it, points outside become unlabeled.

        Raises:
            DataError: they were made for another size of the image, and cannot be brought over.
        """
        part, change = self.part(row), size_change(self.annotated, row, size)
        areas = self.areas[part] * np.float32(change.area_factor)
        boxes = clipped(change.boxes(self.boxes[part]), size)
        points = clear_points_outside(self._points(part, change), size)
        return KeypointAnnotation(points, boxes, self.labels[part], self.crowd[part], areas, size)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts labeled points outside an image of this size by more than a pixel."""
        points = self._points(self.part(row), size_change(self.annotated, row, size))
        corners, limit = points[..., :2], np.array([size[1], size[0]]) + 1
        out = (points[..., 2] > 0) & ((corners < -1) | (corners > limit)).any(axis=-1)
        return {"point": int(out.sum())} if out.any() else {}

    def _points(self, part: slice, change: SizeChange) -> np.ndarray:
        """(M, K, 3) points in pixels of the image; those that are not labeled stay at 0, 0."""
        points = self.points[part]
        if not change.done:
            return points
        moved = np.concatenate([change.points(points[..., :2]), points[..., 2:]], axis=-1)
        return np.where(points[..., 2:] > 0, moved, points)
