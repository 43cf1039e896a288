"""Trackers: ids through crossings, occlusions, skipped frames and classes; predictions with ids; options."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

import vertebra
from tests.tracking.drawn_tracks import crossing_tracks, detect
from vertebra.annotations.run_lengths import Region
from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.tasks.classify.labels import ClassifyLabels
from vertebra.tasks.classify.types import ClassifyPrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.instances.labels import InstanceLabels
from vertebra.tasks.instances.types import InstancePrediction, region_array
from vertebra.tasks.keypoints.labels import KeypointLabels
from vertebra.tasks.keypoints.types import KeypointPrediction
from vertebra.tracking.bytetrack import ByteTrack
from vertebra.tracking.evaluate import TrackingCounts
from vertebra.tracking.motion import AreaMotion
from vertebra.tracking.ocsort import OCSort
from vertebra.tracking.sequence_pairs import TrackedFrame
from vertebra.tracking.tracker import Tracker, TrackerConfig, parsed_options
from vertebra.tracking.tracks import Detections

both = pytest.mark.parametrize("name", ["bytetrack", "ocsort"])
BOX = np.array([100.0, 100, 140, 180])


def walk(tracker: Tracker, frames: Iterable[Any], speed: float = 4.0, **more: Any) -> list[int]:
    """The ids of one object that moves to the right, of a score for each frame (None: not detected)."""
    ids = []
    for number, score in enumerate(frames):
        box = BOX + (speed * number, 0, speed * number, 0)
        given = ([], []) if score is None else ([box], [score])
        found = tracker.update_boxes(*given, **more).tolist()
        ids += found or [0]
    return ids


@pytest.mark.parametrize(("name", "min_idf1", "min_hota"), [("bytetrack", 0.93, 0.80), ("ocsort", 0.90, 0.76)])
def test_crossings_and_occlusions_keep_ids(name: str, min_idf1: float, min_hota: float) -> None:
    total = TrackingCounts()
    for seed in (0, 1):
        tracks = crossing_tracks(seed=seed)
        tracker, tracked = Tracker(name), []
        for detections in detect(tracks, seed + 10):
            ids = tracker.update_boxes(*detections)
            tracked.append(TrackedFrame(ids[ids > 0], detections.boxes[ids > 0]))
        total = total.plus(TrackingCounts.of(tracks, tracked))
    metrics = total.metrics()
    assert metrics["idf1"] > min_idf1 and metrics["hota"] > min_hota and metrics["id_switches"] <= 3, metrics


def test_bytetrack_follows_low_scores_but_starts_no_track_with_them() -> None:
    assert walk(Tracker(), [0.9, 0.9, 0.3, 0.2, 0.15, 0.9]) == [1] * 6
    assert walk(Tracker(), [0.9, 0.9, 0.05, 0.9]) == [1, 1, -1, 1]
    assert walk(Tracker(), [0.5] * 5) == [-1] * 5
    assert walk(Tracker("ocsort"), [0.9, 0.9, 0.3, 0.9]) == [1, 1, -1, 1]


def test_a_new_object_needs_two_frames_but_in_the_first_one() -> None:
    assert walk(Tracker(), [None, 0.9, 0.9, 0.9]) == [0, -1, 1, 1]
    assert walk(Tracker(), [None, 0.65, 0.65, 0.65]) == [0, -1, -1, -1]
    assert walk(Tracker(), [None, 0.9, None, 0.9, None]) == [0, -1, 0, -1, 0]
    assert walk(Tracker("ocsort"), [None, None, None, 0.9, 0.9, 0.9, 0.9]) == [0, 0, 0, -1, -1, 1, 1]
    assert walk(Tracker("ocsort", min_hits=1), [None, None, 0.9]) == [0, 0, 1]


@both
def test_a_lost_track_is_kept_for_the_buffer(name: str) -> None:
    seen = [0.9] * 8
    assert walk(Tracker(name, track_buffer=10), [*seen, *[None] * 10, *seen], 1.0) == [*[1] * 8, *[0] * 10, *[1] * 8]
    after = walk(Tracker(name, track_buffer=10), [*seen, *[None] * 11, *seen], 1.0)[19:]
    assert set(after) == {-1, 2}, "a new track"


@both
def test_skipped_frames_count(name: str) -> None:
    tracker = Tracker(name, track_buffer=20)
    ids = []
    for frame in (0, 1, 2, 3, 4, 5, 13, 14, 18, 40, 41, 42, 43):
        box = BOX + (12 * frame, 0, 12 * frame, 0)
        ids.append(int(tracker.update_boxes([box], [0.9], frame=frame)[0]))
    assert ids[:9] == [1] * 9 and 1 not in ids[9:] and tracker.frame == 43
    with pytest.raises(DataError, match="frame 43 is not after frame 43; each video needs its own tracker"):
        tracker.update_boxes([BOX], [0.9], frame=43)
    tracker.reset()
    assert tracker.update_boxes([BOX], [0.9]).tolist() == [1] and tracker.frame == 0


@both
def test_objects_of_two_classes_share_no_track(name: str) -> None:
    tracker = Tracker(name)
    pair = np.stack([BOX, BOX + 2])
    for _ in range(4):
        assert tracker.update_boxes(pair, [0.9, 0.9], [3, 7]).tolist() == [1, 2]
    assert tracker.update_boxes(pair, [0.9, 0.9], [7, 3]).tolist() == [2, 1]
    assert 1 not in tracker.update_boxes(pair[:1], [0.9], [5])


@both
def test_frames_without_objects(name: str) -> None:
    tracker = Tracker(name)
    for boxes, scores in (([], []), (np.zeros((0, 4)), np.zeros(0)), ([BOX], [0.9]), ([], []), ([BOX], [0.9])):
        assert len(tracker.update_boxes(boxes, scores)) == len(scores)
    assert tracker.update_boxes([BOX], [0.9]).tolist() == [1]


def test_scores_by_class_decide() -> None:
    tracker = Tracker(track_threshold=np.array([0.2, 0.8]))
    far = np.stack([BOX, BOX + 200])
    assert tracker.update_boxes(far, [0.5, 0.5], [0, 1]).tolist() == [1, -1]
    assert isinstance(ByteTrack(track_threshold=np.array([0.05, 0.8])).min_score, np.ndarray)
    assert np.allclose(ByteTrack(track_threshold=np.array([0.6, 0.96])).new_track_threshold, [0.7, 0.98])


def test_a_track_observed_again_is_filtered_along_a_straight_path() -> None:
    method, motion = OCSort(), AreaMotion()
    boxes = [BOX, BOX + (5, 0, 5, 0), BOX + (10, 1, 10, 1)]
    last = BOX + (34, 9, 34, 9)
    for box in [*boxes, None, None, None, last]:
        shape = Detections(np.zeros((0, 4)), np.zeros(0), np.zeros(0, dtype=np.int64))
        method.update(shape if box is None else Detections(box[None], np.ones(1), np.zeros(1, dtype=np.int64)), 1)
    expected = motion.start(boxes[0][None])
    for box in [*boxes[1:], *(boxes[-1] + (last - boxes[-1]) * part for part in (0.25, 0.5, 0.75, 1.0))]:
        expected = motion.correct(motion.predict(expected, np.zeros(1, dtype=bool)), np.asarray(box)[None])
    tracks = method._tracks
    assert tracks is not None and tracks.ids.tolist() == [1]
    np.testing.assert_allclose(tracks.states, expected)


def test_ocsort_prefers_the_direction_of_motion() -> None:
    """Two objects pass each other: by IoU alone each would turn around."""
    for inertia, expected in ((0.0, [2, 1]), (0.2, [1, 2])):
        tracker = Tracker("ocsort", inertia=inertia, delta_t=1)
        for step in range(5):
            pair = [BOX + (8 * step, 0, 8 * step, 0), BOX + (82 - 8 * step, 0, 82 - 8 * step, 0)]
            assert tracker.update_boxes(pair, [0.9, 0.9]).tolist() == [1, 2]
        pair = [BOX + (52, 0, 52, 0), BOX + (30, 0, 30, 0)]
        assert tracker.update_boxes(pair, [0.9, 0.9]).tolist() == expected


Tracked = DetectPrediction | KeypointPrediction | InstancePrediction
TASKS = ("detect", "keypoints", "instances")


def predictions() -> list[Tracked]:
    boxes = np.stack([BOX, BOX + 200, BOX + 400]).astype(np.float32)
    scores, ids = np.array([0.9, 0.8, 0.3], np.float32), np.array([0, 1, 0])
    labels = KeypointLabels(("a", "b"), ("nose", "tail"), ((0, 1),))
    points = boxes.reshape(3, 2, 2)
    image = np.zeros((700, 700, 3), np.uint8)
    rles = [Region.of_box(box, (700, 700)) for box in boxes]
    return [
        DetectPrediction(boxes, scores, ids, DetectLabels(("a", "b")), image, draw_threshold=0.5),
        KeypointPrediction(points, scores[:, None].repeat(2, 1), boxes, scores, ids, labels, image),
        InstancePrediction(region_array(rles), boxes, scores, ids, (700, 700), InstanceLabels(("a", "b")), image),
    ]


@pytest.mark.parametrize("prediction", predictions(), ids=TASKS)
def test_predictions_keep_their_ids(prediction: Tracked) -> None:
    assert prediction.track_ids is None and "track_id" not in prediction.to_dict()["objects"][0]
    tracked = vertebra.Tracker().update(prediction)
    assert type(tracked) is type(prediction) and len(tracked) == 2 and tracked.track_ids is not None
    assert tracked.track_ids.tolist() == [1, 2] and np.array_equal(tracked.boxes, prediction.boxes[:2])
    assert tracked.filter(classes="b").track_ids.tolist() == [2]  # type: ignore[union-attr]
    assert tracked[::-1].track_ids.tolist() == [2, 1] and tracked[0].track_ids.tolist() == [1]  # type: ignore[union-attr]
    assert [one.track_ids.tolist() for one in tracked] == [[1], [2]]  # type: ignore[union-attr]
    assert [entry["track_id"] for entry in tracked.to_dict()["objects"]] == [1, 2]
    assert tracked.filter(min_score=0.95).track_ids.tolist() == []  # type: ignore[union-attr]
    with pytest.raises(ValueError, match=r"track ids must be \(2,\)"):
        replace(tracked, track_ids=np.array([1]))


@pytest.mark.parametrize("prediction", predictions(), ids=TASKS)
def test_supervision_gets_the_ids(prediction: Tracked, monkeypatch: pytest.MonkeyPatch) -> None:
    from types import SimpleNamespace

    def fields(xyxy: Any = None, keypoint_confidence: Any = None, **more: Any) -> dict[str, Any]:
        return more

    monkeypatch.setitem(sys.modules, "supervision", SimpleNamespace(Detections=fields, KeyPoints=fields))
    untracked, tracked = prediction.to_supervision(), vertebra.Tracker().update(prediction).to_supervision()
    ids = tracked["data"]["tracker_id"] if prediction.task == "keypoints" else tracked["tracker_id"]
    assert ids.tolist() == [1, 2]
    assert untracked.get("tracker_id") is None and "tracker_id" not in untracked["data"]


@pytest.mark.parametrize("prediction", predictions(), ids=TASKS)
def test_pictures_have_a_color_for_each_track(prediction: Tracked) -> None:
    from vertebra.tasks.palette import color

    tracked = replace(prediction[2], track_ids=np.array([41]))
    pixels = np.asarray(tracked.draw())
    assert (pixels == color(41)).all(axis=-1).any(), "drawn, though its score is below the threshold"
    other = np.asarray(replace(tracked, track_ids=np.array([42])).draw())
    assert (other == color(42)).all(axis=-1).any() and not (other == color(41)).all(axis=-1).any()


def test_what_cannot_be_tracked_is_refused() -> None:
    animal = ClassifyPrediction(np.array([0.8, 0.2], np.float32), ClassifyLabels(("a", "b")))
    with pytest.raises(ConfigError, match="tracks are for boxes of objects; a classify prediction has none"):
        Tracker().update(animal)
    assert not hasattr(animal, "track_ids")
    for boxes, scores, message in (
        ([BOX], [0.9, 0.8], r"must be \(M, 4\), \(M,\) and \(M,\), got \(1, 4\), \(2,\) and \(1,\)"),
        ([BOX[:3]], [0.9], r"got \(1, 3\)"),
        ([BOX * np.nan], [0.9], "must be finite"),
        (BOX, [0.9], r"got \(4,\)"),
    ):
        with pytest.raises(DataError, match=message):
            Tracker().update_boxes(boxes, scores)


def test_options_are_checked() -> None:
    for name, options, error, message in (
        ("bytetrak", {}, UnknownName, "unknown tracker 'bytetrak'. Did you mean 'bytetrack'?"),
        (
            "ocsort",
            {"min_hit": 1},
            UnknownName,
            r"unknown option of Tracker\('ocsort'\)\(\): 'min_hit'. Did you mean 'min_hits'",
        ),
        ("bytetrack", {"track_buffer": 0}, ConfigError, "'track_buffer' must be a whole number, 1 or more"),
        ("bytetrack", {"track_threshold": 2}, ConfigError, "'track_threshold' must be within 0 and 1"),
        ("bytetrack", {"new_track_threshold": 0.5}, ConfigError, "must not be below 'track_threshold'"),
        ("ocsort", {"track_threshold": np.array([0.5, 3])}, ConfigError, "within 0 and 1 for each class"),
    ):
        with pytest.raises(error, match=message):
            Tracker(name, **options)
    assert repr(Tracker("ocsort", min_hits=2)) == "Tracker('ocsort', min_hits=2)"
    assert TrackerConfig.of(True) == TrackerConfig.of("bytetrack") == ("bytetrack", {})
    with pytest.raises(ConfigError, match=r"'track' must be True, the name of a tracker \(bytetrack, ocsort\)"):
        TrackerConfig.of(3)  # type: ignore[arg-type]
    assert parsed_options(["track_buffer=60", "match_iou=0.3"]) == {"track_buffer": 60, "match_iou": 0.3}
    for text in ("track_buffer", "=3", "match_iou=high", "match_iou=nan"):
        with pytest.raises(ConfigError, match="NAME=NUMBER"):
            parsed_options([text])


def test_a_tracker_needs_no_torch() -> None:
    code = (
        "import sys, vertebra; print(vertebra.Tracker().update_boxes([[1, 2, 30, 40]], [0.9]).tolist(), "
        "vertebra.evaluate_tracks.__name__, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["[1]", "evaluate_tracks", "False"]
