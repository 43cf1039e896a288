"""ByteTrack: association of every detection box, also of those with low scores."""

from __future__ import annotations

import numpy as np

from vertebra.errors import ConfigError
from vertebra.keywords import check_fraction
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tracking.motion import HeightMotion
from vertebra.tracking.tracks import (
    Detections,
    IdCounter,
    Tracks,
    check_common,
    check_score,
    match_by_iou,
    min_scores,
)


class ByteTrack:
    """Associates tracks first with objects of high scores, then the remaining ones with objects of low scores, such as occluded
    ones.

    Zhang et al., ByteTrack: Multi-Object Tracking by Associating Every Detection Box, ECCV 2022, arXiv 2110.06864. An object
    without a track starts one if it has a high score in two successive frames; in the first frame at once. Objects of low scores
    only continue tracks that had an object in the frame before.

    Args:
        track_threshold: the paper's τ: minimum score of the first association, of all classes or (K,) of each.
        new_track_threshold: the paper's ε: minimum score of an object that starts a track; None for 0.1 above
            ``track_threshold``, or half of the way to 1.
        low_threshold: objects below this score are not used.
        match_iou: minimum IoU of the first association.
        low_match_iou: minimum IoU of the association with objects of low scores.
        track_buffer: frames for which a track without an object is kept.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(
        self,
        *,
        track_threshold: ScoreThreshold = 0.6,
        new_track_threshold: ScoreThreshold | None = None,
        low_threshold: float = 0.1,
        match_iou: float = 0.2,
        low_match_iou: float = 0.5,
        track_buffer: int = 30,
    ) -> None:
        check_common(track_threshold, track_buffer, match_iou)
        check_fraction("low_match_iou", low_match_iou)
        check_fraction("low_threshold", low_threshold)
        if new_track_threshold is None:
            new_track_threshold = np.minimum(track_threshold + 0.1, (np.asarray(track_threshold) + 1) / 2)
            new_track_threshold = new_track_threshold if new_track_threshold.ndim else float(new_track_threshold)
        check_score("new_track_threshold", new_track_threshold)
        if np.any(np.asarray(new_track_threshold) < track_threshold):
            raise ConfigError("'new_track_threshold' must not be below 'track_threshold'")
        self.track_threshold, self.new_track_threshold = track_threshold, new_track_threshold
        self.low_threshold, self.match_iou, self.low_match_iou = low_threshold, match_iou, low_match_iou
        self.track_buffer = track_buffer
        self._motion, self._ids = HeightMotion(), IdCounter()
        self._tracks: Tracks | None = None
        self._frame = 0

    @property
    def min_score(self) -> ScoreThreshold:
        """See `TrackingMethod`."""
        low = np.minimum(self.low_threshold, self.track_threshold)
        return low if isinstance(self.track_threshold, np.ndarray) else float(low)

    def update(self, detections: Detections, frames: int) -> np.ndarray:
        """See `TrackingMethod`."""
        self._frame += frames
        high = detections.scores >= min_scores(self.track_threshold, detections.class_ids)
        low = ~high & (detections.scores >= min_scores(self.min_score, detections.class_ids))
        owners = np.full(len(high), -1)  # the row of each object's track
        if self._tracks is None:
            self._tracks = self._started(detections.take(np.zeros(0, dtype=np.int64)), confirmed=True)
            is_first = True
        else:
            is_first = False
            self._associate(self._tracks, detections, owners, high, low, frames)
        ids = self._result(self._tracks, owners)
        starting = (
            high & (owners < 0) & (detections.scores >= min_scores(self.new_track_threshold, detections.class_ids))
        )
        started = self._started(detections.take(np.flatnonzero(starting)), confirmed=is_first)
        if is_first:
            ids[starting] = started.ids
        self._tracks.append(started)
        return ids

    def _associate(
        self, tracks: Tracks, detections: Detections, owners: np.ndarray, high: np.ndarray, low: np.ndarray, frames: int
    ) -> None:
        """Removes tracks that have ended, moves the others to this frame, and gives them their objects: fills ``owners``."""
        tracks.keep_rows(self._frame - tracks.last_frames <= self.track_buffer + 1)
        for _ in range(min(frames, self.track_buffer + 1)):
            tracks.states = self._motion.predict(tracks.states, ~tracks.tracked)
        boxes = self._motion.boxes(tracks.states)
        confirmed, was_tracked = tracks.ids > 0, tracks.tracked
        matched = np.zeros(len(tracks), dtype=bool)
        for suitable, objects, min_iou in (
            (confirmed, high, self.match_iou),
            (confirmed & was_tracked, low, self.low_match_iou),
            (~confirmed, high, self.match_iou),
        ):
            rows, columns = np.flatnonzero(suitable & ~matched), np.flatnonzero(objects & (owners < 0))
            first, second = match_by_iou(boxes[rows], tracks.class_ids[rows], detections.take(columns), min_iou)
            owners[columns[second]] = rows[first]
            matched[rows[first]] = True
        columns = np.flatnonzero(owners >= 0)
        rows = owners[columns]
        tracks.states[rows] = self._motion.correct(tracks.states[rows], detections.boxes[columns])
        tracks.last_frames[rows] = self._frame
        tracks.tracked = matched
        new = np.flatnonzero(matched & ~confirmed)
        tracks.ids[new] = self._ids.take(len(new))

    def _result(self, tracks: Tracks, owners: np.ndarray) -> np.ndarray:
        """The ids of objects, from their tracks' rows; then removes unconfirmed tracks without an object."""
        ids = np.full(len(owners), -1)
        ids[owners >= 0] = tracks.ids[owners[owners >= 0]]
        tracks.keep_rows(tracks.ids > 0)
        return ids

    def _started(self, detections: Detections, confirmed: bool) -> Tracks:
        """Tracks that start with these objects."""
        count = len(detections.scores)
        ids = self._ids.take(count) if confirmed else np.zeros(count, dtype=np.int64)
        return Tracks(
            self._motion.start(detections.boxes),
            ids,
            detections.class_ids,
            np.full(count, self._frame),
            np.ones(count, dtype=bool),
        )
