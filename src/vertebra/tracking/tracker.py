"""The tracker: gives the objects of each frame ids."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, NamedTuple, TypeVar

import numpy as np

from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.keywords import check_keywords, keyword_names
from vertebra.tasks.prediction import Prediction
from vertebra.tracking.bytetrack import ByteTrack
from vertebra.tracking.ocsort import OCSort
from vertebra.tracking.tracks import Detections, TrackingMethod

TRACKERS: dict[str, type[Any]] = {"bytetrack": ByteTrack, "ocsort": OCSort}
DEFAULT_TRACKER = "bytetrack"

Tracked = TypeVar("Tracked", bound=Prediction)


class TrackerConfig(NamedTuple):
    """A tracking method by name, and its options that differ from the defaults."""

    name: str
    options: Mapping[str, Any]

    @classmethod
    def of(cls, track: bool | str | Mapping[str, Any]) -> TrackerConfig:
        """From the option ``track`` of prediction: True, the name of a method, or its options, with the method as ``name``.

        Raises:
            ConfigError: there is no such method or option, or the value is something else.
        """
        if isinstance(track, Mapping):
            options = dict(track)
            name = options.pop("name", DEFAULT_TRACKER)
        else:
            name, options = DEFAULT_TRACKER if track is True else track, {}
        if not isinstance(name, str):
            raise ConfigError(
                f"'track' must be True, the name of a tracker ({', '.join(TRACKERS)}) or its options, got {track!r}"
            )
        if name not in TRACKERS:
            raise UnknownName("tracker", name, TRACKERS)
        check_keywords(f"Tracker('{name}')", options, keyword_names(TRACKERS[name]))
        config = cls(name, options)
        config.method()
        return config

    def method(self) -> TrackingMethod:
        """A new method, without tracks.

        Raises:
            ConfigError: an option is out of range.
        """
        method: TrackingMethod = TRACKERS[self.name](**self.options)
        return method


def parsed_options(texts: Iterable[str]) -> dict[str, Any]:
    """Options of a tracker from texts ``name=value``, whose values are numbers.

    Raises:
        ConfigError: a text is something else.
    """
    options: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        try:
            number: float = int(value) if value.lstrip("-").isdecimal() else float(value)
        except ValueError:
            number = math.nan
        if not equals or not name or not math.isfinite(number):
            raise ConfigError(f"an option of a tracker is NAME=NUMBER, such as track_buffer=60, got {text!r}")
        options[name] = number
    return options


class Tracker:
    """Gives the objects of one video ids, frame by frame. It needs no model and no torch.

    Objects of different classes never belong to one track. Each video needs its own tracker, or `reset`.

    Args:
        name: "bytetrack" (`vertebra.tracking.bytetrack.ByteTrack`) or "ocsort" (`vertebra.tracking.ocsort.OCSort`).
        options: of the method: ``track_threshold``, ``track_buffer``, ``match_iou`` …

    Attributes:
        config: the method and its options.
        frame: the number of the last frame; None before the first.

    Raises:
        UnknownName: there is no such method or option; the message has the nearest name.
        ConfigError: an option is out of range.
    """

    def __init__(self, name: str = DEFAULT_TRACKER, **options: Any) -> None:
        self.config = TrackerConfig.of({"name": name, **options})
        self.reset()

    def reset(self) -> None:
        """Forgets all tracks; ids start at 1 again."""
        self._method = self.config.method()
        self.frame: int | None = None

    def update(self, prediction: Tracked, frame: int | None = None) -> Tracked:
        """The objects of a frame that belong to a track, with their ``track_ids``, in the same order.

        Boxes and scores are those of the prediction. It should hold objects with low scores too, since some methods continue
        tracks with them: ``model.predict(frame, threshold=0.1)``.

        Args:
            prediction: of the next frame, of a task that predicts boxes.
            frame: its number in the video, above that of the last one, so that skipped frames count; by default the next number.

        Raises:
            ConfigError: predictions of this task have no boxes of objects.
            DataError: the frame is not after the last one, or a box or score is not finite.
        """
        if not prediction.trackable:
            raise ConfigError(f"tracks are for boxes of objects; a {prediction.task} prediction has none")
        ids = self.update_boxes(prediction.boxes, prediction.scores, prediction.class_ids, frame)
        rows = np.flatnonzero(ids > 0)
        return replace(prediction[rows], track_ids=ids[rows])  # type: ignore[call-arg]  # of trackable types

    def update_boxes(self, boxes: Any, scores: Any, class_ids: Any = None, frame: int | None = None) -> np.ndarray:
        """The id of the track of each box of a frame, (M,) int64 from 1; -1 for boxes that belong to no track.

        Args:
            boxes: (M, 4) xyxy in pixels.
            scores: (M,) in 0..1.
            class_ids: (M,) whole numbers; by default all the same.
            frame: see `update`.

        Raises:
            DataError: the shapes do not fit, the frame is not after the last one, or a box or score is not finite.
        """
        detections = _checked(boxes, scores, class_ids)
        following = 0 if self.frame is None else self.frame + 1
        number = following if frame is None else frame
        if number < following:
            raise DataError(f"frame {number} is not after frame {self.frame}; each video needs its own tracker")
        steps = 1 if self.frame is None else number - self.frame
        self.frame = number
        return self._method.update(detections, steps)

    def __repr__(self) -> str:
        options = "".join(f", {name}={value!r}" for name, value in self.config.options.items())
        return f"Tracker({self.config.name!r}{options})"


def _checked(boxes: Any, scores: Any, class_ids: Any) -> Detections:
    """The objects of a frame as arrays."""
    box_array = np.asarray(boxes, dtype=np.float64)
    if box_array.size == 0:
        box_array = box_array.reshape(0, 4)
    score_array = np.asarray(scores, dtype=np.float64)
    count = len(box_array) if box_array.ndim else 0
    class_array = np.zeros(count, dtype=np.int64) if class_ids is None else np.asarray(class_ids)
    if box_array.shape != (count, 4) or score_array.shape != (count,) or class_array.shape != (count,):
        shapes = f"{box_array.shape}, {score_array.shape} and {class_array.shape}"
        raise DataError(f"boxes, scores and class ids of a frame must be (M, 4), (M,) and (M,), got {shapes}")
    if not (np.isfinite(box_array).all() and np.isfinite(score_array).all()):
        raise DataError("boxes and scores of a frame must be finite numbers")
    return Detections(box_array, score_array, class_array.astype(np.int64))
