"""OC-SORT: tracking that trusts observations rather than the filter's estimates."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from vertebra.keywords import check_count, check_fraction
from vertebra.tasks.assignment import max_gain_pairs
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tracking.motion import AreaMotion
from vertebra.tracking.tracks import Detections, IdCounter, Tracks, check_common, class_iou, match_by_iou, min_scores


@dataclass
class _ObservedTracks(Tracks):
    """Columns of `Tracks`, and the observations.

    Attributes:
        observed_states: (N, 5, 4), the filters after the last observation.
        observed_boxes: (N, 4), the last observation.
        history: (N, delta_t, 4), the observations of the last frames, newest first; NaN for frames without one.
        directions: (N, 2) unit vectors of motion between observations; 0 if there is only one.
        streaks: (N,) int64, how many of the last frames in a row had an observation.
    """

    observed_states: np.ndarray
    observed_boxes: np.ndarray
    history: np.ndarray
    directions: np.ndarray
    streaks: np.ndarray


class OCSort:
    """Associates by IoU and by the direction of motion between observations; a track that is observed again is filtered along a
    virtual path between the two observations.

    Cao et al., Observation-Centric SORT: Rethinking SORT for Robust Multi-Object Tracking, CVPR 2023, arXiv 2203.14360, with its
    three steps: observation-centric momentum, re-update, and recovery. The difference of directions is weighted by the score, as
    the authors' code does. A track has an id from its ``min_hits``-th observation in successive frames on, and keeps it.

    Args:
        track_threshold: minimum score of objects, of all classes or (K,) of each.
        match_iou: minimum IoU of a track and an object.
        track_buffer: frames for which a track without an object is kept.
        min_hits: objects in successive frames that a track needs for an id; in the first frames of a video there is no minimum.
        delta_t: the paper's Δt: frames between the observations that give a direction.
        inertia: the paper's λ: weight of the direction beside the IoU.

    Raises:
        ConfigError: an option is out of range.
    """

    def __init__(
        self,
        *,
        track_threshold: ScoreThreshold = 0.6,
        match_iou: float = 0.3,
        track_buffer: int = 30,
        min_hits: int = 3,
        delta_t: int = 3,
        inertia: float = 0.2,
    ) -> None:
        check_common(track_threshold, track_buffer, match_iou)
        check_count("min_hits", min_hits)
        check_count("delta_t", delta_t)
        check_fraction("inertia", inertia)
        self.track_threshold, self.match_iou, self.track_buffer = track_threshold, match_iou, track_buffer
        self.min_hits, self.delta_t, self.inertia = min_hits, delta_t, inertia
        self._motion, self._ids = AreaMotion(), IdCounter()
        self._tracks: _ObservedTracks | None = None
        self._frame = self._updates = 0

    @property
    def min_score(self) -> ScoreThreshold:
        """See `TrackingMethod`."""
        return self.track_threshold

    def update(self, detections: Detections, frames: int) -> np.ndarray:
        """See `TrackingMethod`."""
        self._frame += frames
        self._updates += 1
        used = np.flatnonzero(detections.scores >= min_scores(self.track_threshold, detections.class_ids))
        objects = detections.take(used)
        if self._tracks is None:
            self._tracks = self._started(objects.take(np.zeros(0, dtype=np.int64)))
        tracks = self._tracks
        tracks.keep_rows(self._frame - tracks.last_frames <= self.track_buffer + 1)
        self._predict(tracks, frames)
        rows, columns = self._associate(tracks, objects)
        self._observe(tracks, rows, objects.boxes[columns])
        owners = np.full(len(used), -1)
        owners[columns] = rows
        new = np.flatnonzero(owners < 0)
        owners[new] = len(tracks) + np.arange(len(new))
        tracks.append(self._started(objects.take(new)))
        enough = (tracks.streaks >= self.min_hits) | (self._updates <= self.min_hits)
        confirmed = np.flatnonzero(tracks.tracked & (tracks.ids == 0) & enough)
        tracks.ids[confirmed] = self._ids.take(len(confirmed))
        ids = np.full(len(detections.scores), -1)
        ids[used] = np.where(tracks.ids[owners] > 0, tracks.ids[owners], -1)
        return ids

    def _predict(self, tracks: _ObservedTracks, frames: int) -> None:
        """Moves the tracks, and the history of their observations, to this frame."""
        for _ in range(min(frames, self.track_buffer + 1)):
            tracks.states = self._motion.predict(tracks.states, ~tracks.tracked)
        # every frame is one step of the history; those that were not predicted on have no observation
        steps = min(frames - 1, self.delta_t)
        if steps:
            tracks.history = np.roll(tracks.history, steps, axis=1)
            tracks.history[:, :steps] = np.nan

    def _associate(self, tracks: _ObservedTracks, objects: Detections) -> tuple[np.ndarray, np.ndarray]:
        """Rows of tracks, and the objects that they get."""
        boxes = self._motion.boxes(tracks.states)
        gains = class_iou(boxes, tracks.class_ids, objects, self.match_iou)
        possible = gains > 0
        gains[possible] += self.inertia * (self._direction_agreement(tracks, objects) * objects.scores)[possible]
        rows, columns = max_gain_pairs(np.where(possible, np.maximum(gains, 1e-9), 0))
        free_rows = np.setdiff1d(np.arange(len(tracks)), rows)
        free_columns = np.setdiff1d(np.arange(len(objects.scores)), columns)
        first, second = match_by_iou(  # observation-centric recovery
            tracks.observed_boxes[free_rows], tracks.class_ids[free_rows], objects.take(free_columns), self.match_iou
        )
        return np.concatenate([rows, free_rows[first]]), np.concatenate([columns, free_columns[second]])

    def _direction_agreement(self, tracks: _ObservedTracks, objects: Detections) -> np.ndarray:
        """(N, M) from -0.5, opposite, to 0.5, the same direction, of a track's motion and the line to an object; 0 for tracks
        without a direction."""
        offsets = _centers(objects.boxes) - _centers(self._earlier(tracks))[:, None]
        lengths = np.maximum(np.linalg.norm(offsets, axis=2), 1e-6)
        cosines = np.einsum("nd,nmd->nm", tracks.directions, offsets) / lengths
        agreement: np.ndarray = 0.5 - np.arccos(np.clip(cosines, -1, 1)) / np.pi
        agreement[~tracks.directions.any(axis=1)] = 0
        return agreement

    def _earlier(self, tracks: _ObservedTracks) -> np.ndarray:
        """(N, 4) the oldest observation of the last ``delta_t`` frames, else the last one."""
        oldest: np.ndarray = tracks.observed_boxes.copy()
        for step in range(self.delta_t):
            boxes = tracks.history[:, step]
            known = ~np.isnan(boxes[:, 0])
            oldest[known] = boxes[known]
        return oldest

    def _observe(self, tracks: _ObservedTracks, rows: np.ndarray, boxes: np.ndarray) -> None:
        """Updates tracks with their objects."""
        earlier = self._earlier(tracks)[rows]
        again = self._frame - tracks.last_frames[rows] > 1
        if again.any():
            tracks.states[rows[again]] = self._re_updated(tracks, rows[again], boxes[again])
        tracks.states[rows] = self._motion.correct(tracks.states[rows], boxes)
        offsets = _centers(boxes) - _centers(earlier)
        tracks.directions[rows] = offsets / np.maximum(np.linalg.norm(offsets, axis=1, keepdims=True), 1e-6)
        tracks.tracked = np.zeros(len(tracks), dtype=bool)
        tracks.tracked[rows] = True
        tracks.streaks = np.where(tracks.tracked, tracks.streaks + 1, 0)
        tracks.observed_states[rows], tracks.observed_boxes[rows] = tracks.states[rows], boxes
        tracks.last_frames[rows] = self._frame
        tracks.history = np.roll(tracks.history, 1, axis=1)
        tracks.history[:, 0] = np.nan
        tracks.history[rows, 0] = boxes

    def _re_updated(self, tracks: _ObservedTracks, rows: np.ndarray, boxes: np.ndarray) -> np.ndarray:
        """The filters' states of tracks that are observed again, before this observation: from the last observation on, along
        boxes on a straight path."""
        states: np.ndarray = tracks.observed_states[rows].copy()
        before = tracks.observed_boxes[rows]
        gaps = self._frame - tracks.last_frames[rows]
        not_lost = np.zeros(len(rows), dtype=bool)
        for step in range(1, int(gaps.max()) + 1):
            active = step <= gaps
            moved = self._motion.predict(states, not_lost)
            path = before + (boxes - before) * (step / gaps)[:, None]
            moved = np.where((step < gaps)[:, None, None], self._motion.correct(moved, path), moved)
            states[active] = moved[active]
        return states

    def _started(self, objects: Detections) -> _ObservedTracks:
        """Tracks that start with these objects, not confirmed yet."""
        count = len(objects.scores)
        states = self._motion.start(objects.boxes)
        history = np.full((count, self.delta_t, 4), np.nan)
        history[:, 0] = objects.boxes
        return _ObservedTracks(
            states,
            np.zeros(count, dtype=np.int64),
            objects.class_ids,
            np.full(count, self._frame),
            np.ones(count, dtype=bool),
            states.copy(),
            objects.boxes,
            history,
            np.zeros((count, 2)),
            np.ones(count, dtype=np.int64),
        )


def _centers(boxes: np.ndarray) -> np.ndarray:
    """Centers (..., 2) of boxes (..., 4)."""
    centers: np.ndarray = (boxes[..., :2] + boxes[..., 2:]) / 2
    return centers
