"""The objects of all images of a data set with their points, as arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.annotations.annotated_sizes import AnnotatedSizes, SizeChange, size_change
from vertebra.annotations.ranges import offsets_of, take_ranges
from vertebra.tasks.keypoints.annotation import KeypointAnnotation, clear_points_outside


@dataclass(frozen=True, eq=False)
class PointColumn:
    """The objects of all images with their points, concatenated.

    Attributes:
        offsets: (n + 1,) int64: the objects of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        points: (B, K, 3) float32 of x, y in image pixels and visibility.
        boxes: (B, 4) float32, xyxy.
        labels: (B,) int64 class ids.
        crowd: (B,) bool.
        areas: (B,) float32 square pixels.
        labeled: (n,) bool.
        annotated: the sizes that points were made for; None if they are not known.
    """

    offsets: np.ndarray
    points: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    labeled: np.ndarray
    annotated: AnnotatedSizes | None = None

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
        order = np.argsort(rows, kind="stable")
        return cls(
            offsets_of(rows, len(labeled)),
            np.ascontiguousarray(points[order], dtype=np.float32),
            np.ascontiguousarray(boxes[order], dtype=np.float32).reshape(-1, 4),
            labels[order].astype(np.int64),
            crowd[order].astype(bool),
            areas[order].astype(np.float32),
            labeled,
            annotated,
        )

    def get(self, row: int, size: tuple[int, int]) -> KeypointAnnotation:
        """The objects of an image; boxes are clipped to it, points outside become unlabeled.

        Raises:
            DataError: they were made for another size of the image, and cannot be brought over.
        """
        part = slice(self.offsets[row], self.offsets[row + 1])
        change = size_change(self.annotated, row, size)
        areas = self.areas[part] * np.float32(change.area_factor)
        boxes = np.clip(
            change.boxes(self.boxes[part]), 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32)
        )
        points = clear_points_outside(self._points(part, change), size)
        return KeypointAnnotation(points, boxes, self.labels[part], self.crowd[part], areas, size)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts labeled points outside an image of this size by more than a pixel."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        points = self._points(part, size_change(self.annotated, row, size))
        corners, limit = points[..., :2], np.array([size[1], size[0]]) + 1
        out = (points[..., 2] > 0) & ((corners < -1) | (corners > limit)).any(axis=-1)
        return {"point": int(out.sum())} if out.any() else {}

    def adapted(self, row: int, size: tuple[int, int]) -> str:
        """How annotations are brought to the image's size."""
        return size_change(self.annotated, row, size).done

    def take(self, rows: np.ndarray) -> PointColumn:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        return PointColumn(
            offsets,
            self.points[picked],
            self.boxes[picked],
            self.labels[picked],
            self.crowd[picked],
            self.areas[picked],
            self.labeled[rows],
            None if self.annotated is None else self.annotated.take(rows),
        )

    def _points(self, part: slice, change: SizeChange) -> np.ndarray:
        """(M, K, 3) points in pixels of the image; those that are not labeled stay at 0, 0."""
        points = self.points[part]
        if not change.done:
            return points
        moved = np.concatenate([change.points(points[..., :2]), points[..., 2:]], axis=-1)
        return np.where(points[..., 2:] > 0, moved, points)
