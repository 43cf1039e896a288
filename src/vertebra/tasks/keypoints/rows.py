"""Predicted and annotated objects as flat rows of numbers, which metrics store and gather."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.tasks.keypoints.annotation import KeypointAnnotation
from vertebra.tasks.keypoints.types import KeypointPrediction


@dataclass(frozen=True, eq=False)
class PredictedRows:
    """The predicted objects of an image.

    Attributes:
        points: (F, K, 2) x, y in the image's pixels.
        scores, labels: (F,).
    """

    points: np.ndarray
    scores: np.ndarray
    labels: np.ndarray

    @staticmethod
    def width(points: int) -> int:
        """Numbers in a row."""
        return 2 + 2 * points

    @staticmethod
    def pack(prediction: KeypointPrediction) -> np.ndarray:
        """(F, width) float32."""
        return _rows(prediction.scores, prediction.class_ids, prediction.points)

    @classmethod
    def unpack(cls, rows: np.ndarray, points: int) -> PredictedRows:
        """The objects from packed rows, in double precision."""
        rows = rows.astype(np.float64)
        return cls(rows[:, 2:].reshape(len(rows), points, 2), rows[:, 0], rows[:, 1].astype(np.int64))


@dataclass(frozen=True, eq=False)
class GroundTruthRows:
    """The annotated objects of an image.

    Attributes:
        points: (M, K, 3) x, y in the image's pixels and visibility.
        boxes: (M, 4) xyxy.
        labels, crowd, areas: (M,).
        lengths: (M,) the unit of distances, in pixels.
    """

    points: np.ndarray
    boxes: np.ndarray
    labels: np.ndarray
    crowd: np.ndarray
    areas: np.ndarray
    lengths: np.ndarray

    @staticmethod
    def width(points: int) -> int:
        """Numbers in a row."""
        return 8 + 3 * points

    @staticmethod
    def pack(annotation: KeypointAnnotation, lengths: np.ndarray) -> np.ndarray:
        """(M, width) float32."""
        return _rows(
            annotation.crowd, annotation.labels, annotation.areas, lengths, annotation.boxes, annotation.points
        )

    @classmethod
    def unpack(cls, rows: np.ndarray, points: int) -> GroundTruthRows:
        """The objects from packed rows, in double precision."""
        rows = rows.astype(np.float64)
        crowd, labels, areas, lengths = rows[:, :4].T
        keypoints = rows[:, 8:].reshape(len(rows), points, 3)
        return cls(keypoints, rows[:, 4:8], labels.astype(np.int64), crowd > 0, areas, lengths)

    @property
    def counted(self) -> np.ndarray:
        """(M,) bool, the objects that count: no crowds, and at least one labeled point."""
        counted: np.ndarray = ~self.crowd & (self.points[..., 2] > 0).any(axis=1)
        return counted


def _rows(*parts: np.ndarray) -> np.ndarray:
    """Arrays (M, ...) side by side as rows of float32."""
    count = len(parts[0])
    flat = [np.asarray(part, dtype=np.float32).reshape(count, int(np.prod(np.shape(part)[1:]))) for part in parts]
    return np.concatenate(flat, axis=1)
