"""Tracks as text of the MOT challenge: a line for each box, ``frame, id, left, top, width, height, score, -1, -1, -1``."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np

from vertebra.errors import DataError
from vertebra.tracking.sequence_pairs import TrackedFrame

COLUMNS = "frame, id, left, top, width, height, score"
MAX_FRAMES = 10_000_000


class MotBoxes(NamedTuple):
    """The boxes of a file.

    Attributes:
        frames: (M,) int64, from 1.
        ids: (M,) int64.
        boxes: (M, 4) xyxy in pixels.
        scores: (M,); in ground truth 0 for boxes that do not count.
    """

    frames: np.ndarray
    ids: np.ndarray
    boxes: np.ndarray
    scores: np.ndarray

    def take(self, rows: np.ndarray) -> MotBoxes:
        """Some of the boxes."""
        return MotBoxes(*(column[rows] for column in self))

    def by_frame(self, count: int) -> list[TrackedFrame]:
        """The boxes of each of the first ``count`` frames."""
        order = np.argsort(self.frames, kind="stable")
        cuts = np.searchsorted(self.frames[order], np.arange(1, count + 2))
        return [
            TrackedFrame(self.ids[order[start:stop]], self.boxes[order[start:stop]])
            for start, stop in zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True)
        ]


def mot_lines(frame: int, ids: np.ndarray, boxes: np.ndarray, scores: np.ndarray) -> str:
    """The lines of a frame.

    Args:
        frame: its number, from 1.
        ids: (M,)
        boxes: (M, 4) xyxy in pixels.
        scores: (M,)
    """
    lines = []
    for track, (left, top, right, bottom), score in zip(ids.tolist(), boxes.tolist(), scores.tolist(), strict=True):
        sides = f"{left:.2f},{top:.2f},{right - left:.2f},{bottom - top:.2f}"
        lines.append(f"{frame},{track},{sides},{score:.4f},-1,-1,-1\n")
    return "".join(lines)


def read_mot(path: Path) -> MotBoxes:
    """The boxes of a file; lines may have further columns.

    Raises:
        DataError: the file is missing or damaged; the message names it.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise DataError(f"{path}: not a text file of MOT tracks") from None
    lines = [line for line in text.splitlines() if line.strip()]
    values = np.zeros((0, 7))
    if lines:
        try:
            values = np.loadtxt(lines, delimiter=",", ndmin=2, usecols=range(7), comments=None)
        except ValueError as error:
            raise DataError(f"{path}: not MOT tracks, whose lines are {COLUMNS} ({error})") from None
    return _checked(values, path)


def _checked(values: np.ndarray, path: Path) -> MotBoxes:
    """Boxes from columns (M, 7)."""
    numbers = values[:, :2]
    wrong = ~np.isfinite(values).all(axis=1) | (numbers != np.rint(numbers)).any(axis=1)
    wrong |= (values[:, 0] < 1) | (values[:, 0] > MAX_FRAMES) | (values[:, 4:6] < 0).any(axis=1)
    if wrong.any():
        row = int(wrong.argmax())
        shown = ", ".join(f"{value:g}" for value in values[row])
        raise DataError(
            f"{path}: box {row + 1} ({shown}) is wrong: {COLUMNS} are whole frames from 1, whole ids, and finite numbers with "
            "sides of 0 or more"
        )
    frames, ids = numbers.astype(np.int64).T
    pairs, counts = np.unique(np.stack([frames, ids], axis=1), axis=0, return_counts=True)
    if (counts > 1).any():
        frame, track = pairs[counts > 1][0].tolist()
        raise DataError(f"{path}: track {track} has {counts.max()} boxes in frame {frame}; it may have one")
    boxes = values[:, 2:6].copy()
    boxes[:, 2:] += boxes[:, :2]
    return MotBoxes(frames, ids, boxes, values[:, 6])
