"""What tracking costs for each frame, and how well it keeps ids on drawn crowds.

python -m benchmarks.tracking [--only NAME ...] [--frames N] [--repeats N] [--out FILE]

People are drawn as boxes that walk through an image of 1920x1080; their detections are jittered, one in ten is missing, and the
score falls with the part that a nearer person covers. Milliseconds are the tracker's alone, of the processor, on one thread.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.measure import in_turns, milliseconds
from benchmarks.report import Columns, Row, finish, ms, options, set_threads
from vertebra.tracking.evaluate import TrackingCounts
from vertebra.tracking.sequence_pairs import TrackedFrame
from vertebra.tracking.tracker import TRACKERS, Tracker
from vertebra.tracking.tracks import pairwise_iou

SIZE = (1080, 1920)
CROWDS = {"10 objects": 10, "100 objects": 100, "300 objects": 300}
LIMIT = 3.0  # milliseconds for 100 objects


class Crowd(NamedTuple):
    """The true tracks of each frame, and the boxes (M, 4) and scores (M,) that a detector gives."""

    tracks: list[TrackedFrame]
    detections: list[tuple[np.ndarray, np.ndarray]]


def draw_crowd(count: int, frames: int, seed: int = 0) -> Crowd:
    """People who walk straight on, and turn at the sides of the image; those with higher numbers are nearer."""
    draw = np.random.default_rng(seed)
    heights = draw.uniform(60, 200, count)
    sides = np.column_stack([0.4 * heights, heights])
    room = np.array(SIZE[::-1]) - sides
    starts, speeds = draw.uniform(0, 1, (count, 2)) * room, draw.normal(0, 1, (count, 2)) * (4, 1)
    tracks, detections = [], []
    for number in range(frames):
        corners = room - np.abs((starts + speeds * number) % (2 * room) - room)
        boxes = np.concatenate([corners, corners + sides], axis=1)
        tracks.append(TrackedFrame(np.arange(1, count + 1), boxes))
        covered = np.triu(pairwise_iou(boxes, boxes), 1).max(axis=1)
        scores = np.clip(0.95 - 0.9 * covered + draw.normal(0, 0.03, count), 0.02, 1)
        kept = draw.random(count) > 0.1
        jittered = boxes + draw.normal(0, 2, boxes.shape)
        detections.append((jittered[kept], scores[kept]))
    return Crowd(tracks, detections)


def track(name: str, crowd: Crowd) -> list[TrackedFrame]:
    """The tracks of a crowd."""
    tracker = Tracker(name)
    tracked = []
    for boxes, scores in crowd.detections:
        ids = tracker.update_boxes(boxes, scores)
        tracked.append(TrackedFrame(ids[ids > 0], boxes[ids > 0]))
    return tracked


def compare(name: str, frames: int, repeats: int) -> list[Row]:
    """Milliseconds for each frame, and the metrics, of each tracker on one crowd."""
    crowd = draw_crowd(CROWDS[name], frames)
    runs = {tracker: lambda tracker=tracker: track(tracker, crowd) for tracker in TRACKERS}
    spans = in_turns(runs, repeats, clock=time.thread_time)
    rows = []
    for tracker, spent in milliseconds(spans).items():
        metrics = TrackingCounts.of(crowd.tracks, track(tracker, crowd)).metrics()
        per_frame = {"median": spent["median"] / frames, "quartiles": [value / frames for value in spent["quartiles"]]}
        rows.append({"name": name, "tracker": tracker, "frame": per_frame, **metrics})
    return rows


COLUMNS: Columns = {
    "crowd": lambda row: row["name"],
    "tracker": lambda row: row["tracker"],
    "a frame": ms("frame"),
    "IDF1": lambda row: f"{row['idf1']:.3f}",
    "HOTA": lambda row: f"{row['hota']:.3f}",
    "MOTA": lambda row: f"{row['mota']:.3f}",
    "switches": lambda row: str(row["id_switches"]),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """The benchmark."""
    parser = options(__doc__, 5)
    parser.add_argument("--only", nargs="*", choices=CROWDS, default=list(CROWDS), metavar="NAME")
    parser.add_argument("--frames", type=int, default=100)
    given = parser.parse_args(arguments)
    set_threads(given.threads or 1)
    rows = [row for name in given.only for row in compare(name, given.frames, given.repeats)]
    slow = [row for row in rows if row["name"] == "100 objects" and row["frame"]["median"] > LIMIT]
    notes = [f"{row['tracker']} is over the limit of {LIMIT:g} ms" for row in slow]
    finish("tracking", rows, COLUMNS, given, notes)
    sys.exit(bool(slow))


if __name__ == "__main__":
    main()
