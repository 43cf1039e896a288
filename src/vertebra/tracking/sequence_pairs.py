"""Ground truth and predicted tracks of one sequence, compared frame by frame."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from vertebra.errors import DataError
from vertebra.tracking.tracks import pairwise_iou


class TrackedFrame(NamedTuple):
    """The tracked objects of one frame.

    Attributes:
        ids: (M,) int64, all different.
        boxes: (M, 4) xyxy in pixels.
    """

    ids: np.ndarray
    boxes: np.ndarray


class FramePairs(NamedTuple):
    """One frame of a comparison.

    Attributes:
        actual: (A,) rows of the ground truth's tracks.
        predicted: (P,) rows of the predicted tracks.
        similarity: (A, P) IoU of their boxes.
    """

    actual: np.ndarray
    predicted: np.ndarray
    similarity: np.ndarray


class SequencePairs:
    """All frames of a sequence.

    Args:
        ground_truth: the frames in order.
        predicted: the same frames.

    Attributes:
        frames: the comparisons.
        actual_counts: (G,) int64, the number of boxes of each track of the ground truth.
        predicted_counts: (T,) int64, of each predicted track.

    Raises:
        DataError: the numbers of frames differ, shapes do not fit, or an id occurs twice in a frame.
    """

    def __init__(self, ground_truth: Sequence[TrackedFrame], predicted: Sequence[TrackedFrame]) -> None:
        if len(ground_truth) != len(predicted):
            raise DataError(f"{len(ground_truth)} frames of ground truth, but {len(predicted)} predicted frames")
        actual_rows, self.actual_counts = _rows(ground_truth, "ground truth")
        predicted_rows, self.predicted_counts = _rows(predicted, "the predicted tracks")
        self.frames = [
            FramePairs(first_rows, second_rows, pairwise_iou(_boxes(first), _boxes(second)))
            for first, second, first_rows, second_rows in zip(
                ground_truth, predicted, actual_rows, predicted_rows, strict=True
            )
        ]

    @property
    def shape(self) -> tuple[int, int]:
        """The numbers of tracks of the ground truth and of predicted tracks."""
        return len(self.actual_counts), len(self.predicted_counts)

    def __iter__(self) -> Iterator[FramePairs]:
        return iter(self.frames)


def _boxes(frame: TrackedFrame) -> np.ndarray:
    return np.asarray(frame.boxes, dtype=np.float64).reshape(-1, 4)


def _rows(frames: Sequence[TrackedFrame], where: str) -> tuple[list[np.ndarray], np.ndarray]:
    """The rows of the tracks of each frame, and the number of boxes of each track."""
    for number, frame in enumerate(frames, start=1):
        ids = np.asarray(frame.ids)
        if ids.ndim != 1 or len(_boxes(frame)) != len(ids):
            raise DataError(f"frame {number} of {where} has ids of shape {ids.shape} for {len(_boxes(frame))} boxes")
        if len(np.unique(ids)) != len(ids):
            raise DataError(f"frame {number} of {where} has an id twice")
    lengths = [len(frame.ids) for frame in frames]
    whole = np.concatenate([np.asarray(frame.ids) for frame in frames]) if frames else np.zeros(0, dtype=np.int64)
    known, rows = np.unique(whole, return_inverse=True)
    return np.split(rows, np.cumsum(lengths)[:-1]) if frames else [], np.bincount(rows, minlength=len(known))
