"""Annotations of all images as arrays: classes of images, boxes, and points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from vertebra.tasks.classify.annotation import ClassifyAnnotation
from vertebra.tasks.detect.annotation import DetectAnnotation
from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.data import clear_points_outside


@dataclass(frozen=True, eq=False)
class ClassColumn:
    """The class of each image.

    Attributes:
        values: (n,) int64 class ids; for multilabel data (n, K) uint8 of 0 and 1.
        labeled: (n,) bool.
    """

    values: np.ndarray
    labeled: np.ndarray

    def get(self, row: int, size: tuple[int, int]) -> ClassifyAnnotation:
        """The class, or the classes, of an image."""
        value = self.values[row]
        return ClassifyAnnotation(int(value) if self.values.ndim == 1 else value.astype(np.int64))

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Always empty: a class has no position."""
        return {}

    def take(self, rows: np.ndarray) -> ClassColumn:
        """The column of some images only."""
        return ClassColumn(self.values[rows], self.labeled[rows])


@dataclass(frozen=True, eq=False)
class BoxColumn:
    """The boxes of all images, concatenated.

    Attributes:
        offsets: (n + 1,) int64: the boxes of image i are ``offsets[i]`` to ``offsets[i + 1]``.
        boxes: (B, 4) float32, xyxy in image pixels.
        labels: (B,) int64 class ids.
        crowd: (B,) bool, for boxes that mark a crowd or a region to ignore.
        labeled: (n,) bool.
    """

    offsets: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    labeled: np.ndarray

    @classmethod
    def of(
        cls, rows: np.ndarray, boxes: np.ndarray, labels: np.ndarray, crowd: np.ndarray, labeled: np.ndarray
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
        )

    def get(self, row: int, size: tuple[int, int]) -> DetectAnnotation:
        """The boxes of an image, clipped to it; boxes outside are left out."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        boxes = np.clip(self.boxes[part], 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32))
        kept = (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])
        return DetectAnnotation(boxes[kept], self.labels[part][kept], self.crowd[part][kept])

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts boxes that extend beyond an image of this size by more than a pixel."""
        boxes = self.boxes[self.offsets[row] : self.offsets[row + 1]]
        limit = np.array([size[1], size[0], size[1], size[0]]) + 1
        return {"box": int((boxes > limit).any(axis=1).sum())} if (boxes > limit).any() else {}

    def take(self, rows: np.ndarray) -> BoxColumn:
        """The column of some images only."""
        offsets, picked = take_ranges(self.offsets, rows)
        return BoxColumn(offsets, self.boxes[picked], self.labels[picked], self.crowd[picked], self.labeled[rows])


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
    """

    offsets: np.ndarray
    points: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    labeled: np.ndarray

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
        )

    def get(self, row: int, size: tuple[int, int]) -> KeypointAnnotation:
        """The objects of an image; boxes are clipped to it, points outside become unlabeled."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        boxes = np.clip(self.boxes[part], 0, np.array([size[1], size[0], size[1], size[0]], dtype=np.float32))
        points = clear_points_outside(self.points[part], size)
        return KeypointAnnotation(points, boxes, self.labels[part], self.crowd[part], self.areas[part], size)

    def count_out_of_bounds(self, row: int, size: tuple[int, int]) -> dict[str, int]:
        """Counts labeled points outside an image of this size by more than a pixel."""
        part = slice(self.offsets[row], self.offsets[row + 1])
        corners, limit = self.points[part, :, :2], np.array([size[1], size[0]]) + 1
        out = (self.points[part, :, 2] > 0) & ((corners < -1) | (corners > limit)).any(axis=-1)
        return {"point": int(out.sum())} if out.any() else {}

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
        )


def offsets_of(rows: np.ndarray, count: int) -> np.ndarray:
    """The offsets of each row's entries, for entries sorted by row.

    Args:
        rows: (B,) int64 row of each entry.
        count: number of rows n.

    Returns:
        (n + 1,) int64.
    """
    return np.concatenate([[0], np.cumsum(np.bincount(rows, minlength=count))]).astype(np.int64)


def take_ranges(offsets: np.ndarray, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries of some rows.

    Args:
        offsets: (n + 1,) int64.
        rows: (m,) int64.

    Returns:
        The new offsets (m + 1,), and the indices of the entries in the old order.
    """
    lengths = offsets[rows + 1] - offsets[rows]
    new = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    picked = np.repeat(offsets[rows] - new[:-1], lengths) + np.arange(new[-1])
    return new, picked


def join_ranges(parts: Sequence[np.ndarray], dtype: type[np.generic]) -> tuple[np.ndarray, np.ndarray]:
    """Arrays of different lengths concatenated, with the offsets of each."""
    lengths = np.array([len(part) for part in parts], dtype=np.int64)
    joined = np.concatenate(parts).astype(dtype) if parts else np.zeros(0, dtype=dtype)
    return joined, np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
