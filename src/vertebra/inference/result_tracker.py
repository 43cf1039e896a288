"""Gives the objects in the results of videos ids; without torch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from vertebra.annotations.notes import Note
from vertebra.errors import ConfigError
from vertebra.inference.io.streams import Camera
from vertebra.inference.io.video import Video, VideoFrame
from vertebra.inference.results import Result, Unreadable
from vertebra.model_info import ModelInfo
from vertebra.tasks import all_tasks, get_task
from vertebra.tasks.thresholds import ScoreThreshold
from vertebra.tracking.tracker import Tracker, TrackerConfig
from vertebra.tracking.tracks import min_scores


class TrackingPlan:
    """How a predictor tracks: the branches, and the scores that tracking needs.

    Args:
        info: of the model.
        track: True, the name of a tracker, or its options; see `TrackerConfig`.
        thresholds: minimum scores of each branch without tracking. They are the ``track_threshold``, unless that is an option:
            objects that prediction shows start tracks, whatever the scale of a model's scores is.

    Attributes:
        thresholds: minimum scores of each branch with tracking, which also uses objects of low scores.
        shown: the minimum scores of tracked branches without tracking.
        configs: the tracker of each tracked branch.

    Raises:
        ConfigError: the model predicts no boxes of objects, or there is no such tracker or option.
    """

    def __init__(
        self,
        info: ModelInfo,
        track: bool | str | Mapping[str, Any],
        thresholds: Mapping[str, ScoreThreshold | None],
    ) -> None:
        config = TrackerConfig.of(track)
        branches = [name for name, (task, _) in info.branches.items() if get_task(task).prediction.trackable]
        if not branches:
            tasks = " or ".join(name for name, task in all_tasks().items() if task.prediction.trackable)
            known = ", ".join(f"{name}: {task}" for name, (task, _) in info.branches.items())
            raise ConfigError(f"tracks are for branches of task {tasks}; this model has none ({known})")
        self.thresholds, self.configs = dict(thresholds), {}
        self.shown: dict[str, ScoreThreshold] = {}
        for name in branches:
            plain = thresholds[name]
            assert plain is not None, "objects with boxes have a threshold"
            self.configs[name] = TrackerConfig.of({"name": config.name, "track_threshold": plain, **config.options})
            self.shown[name] = plain
            self.thresholds[name] = np.minimum(plain, self.configs[name].method().min_score)


class ResultTracker:
    """Adds track ids to results, frame by frame in order. Each video, each branch has a tracker.

    Args:
        plan: how to track.

    Attributes:
        left_out: by video and branch, the number of objects that reach the threshold of prediction, but have no track.
    """

    def __init__(self, plan: TrackingPlan) -> None:
        self.plan = plan
        self.left_out: Counter[tuple[str, str]] = Counter()
        self._trackers: dict[str, Tracker] = {}
        self._source: Path | str | None = None
        self._frame = -1

    def __call__(self, result: Result) -> Result:
        """The result with only those objects of tracked branches that have a track.

        Raises:
            ConfigError: the result is of an image.
        """
        frame_info = result.frame_info
        if frame_info is None:
            raise no_frames(result.source or "an image in memory")
        if frame_info.source != self._source or frame_info.frame <= self._frame:
            self._trackers = {
                name: Tracker(config.name, **config.options) for name, config in self.plan.configs.items()
            }
        self._source, self._frame = frame_info.source, frame_info.frame
        predictions = dict(result.items())
        for name, tracker in self._trackers.items():
            before = predictions[name]
            shown = self.plan.shown[name]
            after: Any = tracker.update(before, frame_info.frame)
            predictions[name] = replace(after, draw_threshold=float(np.min(shown)))
            left = _count(before, shown) - _count(after, shown)
            if left:
                self.left_out[str(frame_info.source), name] += left
        return result.with_predictions(predictions)

    def notes(self) -> list[Note]:
        """What was left out."""
        return [
            Note("object", f"of branch '{branch}' without a track", "left out", count, (source,))
            for (source, branch), count in self.left_out.items()
        ]


def _count(prediction: Any, threshold: ScoreThreshold) -> int:
    """The number of objects that reach a threshold."""
    return int(np.count_nonzero(prediction.scores >= min_scores(threshold, prediction.class_ids)))


def no_frames(name: Any) -> ConfigError:
    """The error for an image where frames are needed."""
    return ConfigError(
        f"{name}: tracks are for videos, cameras, and folders with an image for each frame; single images have none"
    )


def check_frames(sources: Iterable[Any]) -> None:
    """Checks that sources (see `vertebra.inference.io.inputs.as_source`) have frames.

    Raises:
        ConfigError: a source is an image.
    """
    for source in sources:
        if not isinstance(source, Video | Camera | VideoFrame | Unreadable):
            raise no_frames(source)
