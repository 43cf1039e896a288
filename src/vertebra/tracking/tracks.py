"""What both tracking methods share: the detections of a frame, columns of tracks, and association by IoU."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, NamedTuple, Protocol

import numpy as np

from vertebra.errors import ConfigError
from vertebra.keywords import check_count, check_fraction
from vertebra.tasks.assignment import max_gain_pairs
from vertebra.tasks.box_iou import areas
from vertebra.tasks.thresholds import ScoreThreshold


class Detections(NamedTuple):
    """The objects of one frame.

    Attributes:
        boxes: (M, 4) float64 xyxy in pixels.
        scores: (M,) float64 in 0..1.
        class_ids: (M,) int64.
    """

    boxes: np.ndarray
    scores: np.ndarray
    class_ids: np.ndarray

    def take(self, rows: np.ndarray) -> Detections:
        """The objects at these rows."""
        return Detections(self.boxes[rows], self.scores[rows], self.class_ids[rows])


class TrackingMethod(Protocol):
    """A tracking method; its options are the keyword arguments of its ``__init__``.

    Attributes:
        min_score: objects with lower scores are not used.
    """

    @property
    def min_score(self) -> ScoreThreshold:
        """Objects below this score, of all classes or (K,) of each, are not used."""

    def update(self, detections: Detections, frames: int) -> np.ndarray:
        """The track of each object, (M,) int64 from 1; -1 for objects without a track.

        Args:
            detections: of the frame.
            frames: how many frames after the last one this is, 1 or more.
        """


@dataclass
class Tracks:
    """Columns with a row for each track.

    Attributes:
        states: (N, 5, 4) of the Kalman filters.
        ids: (N,) int64 from 1; 0 for a track that is not confirmed yet.
        class_ids: (N,) int64.
        last_frames: (N,) int64, the frame of each one's last detection.
        tracked: (N,) bool, whether it had a detection in the last frame.
    """

    states: np.ndarray
    ids: np.ndarray
    class_ids: np.ndarray
    last_frames: np.ndarray
    tracked: np.ndarray

    def __len__(self) -> int:
        return len(self.ids)

    def keep_rows(self, rows: np.ndarray) -> None:
        """Removes all tracks but these, (N,) bool."""
        if not rows.all():
            for column in fields(self):
                setattr(self, column.name, getattr(self, column.name)[rows])

    def append(self, tracks: Tracks) -> None:
        """Adds tracks of the same type."""
        for column in fields(self):
            setattr(self, column.name, np.concatenate([getattr(self, column.name), getattr(tracks, column.name)]))


class IdCounter:
    """Ids from 1 in the order of confirmation."""

    _FIRST: ClassVar[int] = 1

    def __init__(self) -> None:
        self._next = self._FIRST

    def take(self, count: int) -> np.ndarray:
        """The next ids (count,) int64."""
        ids = np.arange(self._next, self._next + count)
        self._next += count
        return ids


def pairwise_iou(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union (M, N) of boxes (M, 4) and (N, 4) xyxy; 0 where both are empty."""
    left = np.maximum(first[:, None, 0], second[:, 0])
    top = np.maximum(first[:, None, 1], second[:, 1])
    right = np.minimum(first[:, None, 2], second[:, 2])
    bottom = np.minimum(first[:, None, 3], second[:, 3])
    common = np.maximum(right - left, 0) * np.maximum(bottom - top, 0)
    union = areas(first)[:, None] + areas(second) - common
    ratio: np.ndarray = common / np.maximum(union, 1e-9)
    return ratio


def class_iou(boxes: np.ndarray, class_ids: np.ndarray, detections: Detections, min_iou: float) -> np.ndarray:
    """IoU (N, M) of tracks and objects; 0 for pairs of different classes or with an IoU below the minimum.

    Args:
        boxes: (N, 4) of tracks.
        class_ids: (N,) of tracks.
        detections: M objects.
        min_iou: the minimum.
    """
    similarity = pairwise_iou(boxes, detections.boxes)
    refused = (similarity < min_iou) | (class_ids[:, None] != detections.class_ids)
    similarity[refused] = 0
    return similarity


def match_by_iou(
    boxes: np.ndarray, class_ids: np.ndarray, detections: Detections, min_iou: float
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of tracks and objects with the largest sum of IoU; see `class_iou`."""
    return max_gain_pairs(class_iou(boxes, class_ids, detections, min_iou))


def min_scores(threshold: ScoreThreshold, class_ids: np.ndarray) -> float | np.ndarray:
    """The minimum score of objects of these classes."""
    return threshold[class_ids] if isinstance(threshold, np.ndarray) else threshold


def check_score(name: str, value: ScoreThreshold) -> None:
    """Checks a minimum score, of all classes or of each.

    Raises:
        ConfigError: it is not within 0 and 1.
    """
    if not isinstance(value, np.ndarray):
        check_fraction(name, value)
    elif value.ndim != 1 or not ((value >= 0) & (value <= 1)).all():
        raise ConfigError(f"'{name}' must be within 0 and 1 for each class, got {value.tolist()}")


def check_common(track_threshold: ScoreThreshold, track_buffer: int, match_iou: float) -> None:
    """Checks the options that both methods have.

    Raises:
        ConfigError: one is wrong.
    """
    check_score("track_threshold", track_threshold)
    check_count("track_buffer", track_buffer)
    check_fraction("match_iou", match_iou)
