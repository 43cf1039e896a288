"""Track ids of the results of videos, and the files that hold them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.inference.painted import Painted, paint
from vertebra.cli.writing import OutputOptions, OutputWriter
from vertebra.errors import ConfigError, DataError, UnknownName
from vertebra.inference.io.mot_files import MotFiles
from vertebra.inference.io.pictures import AnnotatedVideos
from vertebra.inference.io.trails import Trails
from vertebra.inference.io.video import FrameInfo, Video, VideoFrame, list_frames
from vertebra.inference.result_tracker import ResultTracker
from vertebra.inference.results import Result
from vertebra.tasks.box_attributes.labels import AttributeLabels
from vertebra.tasks.box_attributes.types import AttributePrediction
from vertebra.tasks.detect.labels import DetectLabels
from vertebra.tasks.detect.types import DetectPrediction
from vertebra.tasks.palette import color
from vertebra.tracking.mot_text import read_mot

SIZE = (64, 96)


def frame(number: int) -> np.ndarray:
    """Two objects that move towards each other in their rows, and one that appears in frame 6."""
    rectangles = [(10 + 4 * number, 8, 26 + 4 * number, 24, 0), (70 - 4 * number, 36, 86 - 4 * number, 52, 1)]
    return paint(SIZE, [*rectangles, (2, 54, 14, 62, 0)] if number >= 6 else rectangles)


@pytest.fixture(scope="module")
def frames(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of ten frames, whose names need no zeros."""
    folder = tmp_path_factory.mktemp("clips") / "walk"
    (folder / "more").mkdir(parents=True)
    for number in range(10):
        Image.fromarray(frame(number)).save(folder / f"frame{number + 1}.png")
    Image.fromarray(frame(0)).save(folder / "more" / "other.png")
    (folder / "notes.txt").write_text("no image")
    return folder


def ids_of(results: Any, branch: str = "boxes") -> list[list[int]]:
    """The ids in each frame, by class and position."""
    return [
        result[branch].track_ids[np.lexsort((result[branch].boxes[:, 1], result[branch].class_ids))].tolist()
        for result in results
    ]


EXPECTED = [[1, 2]] * 6 + [[1, 2]] + [[1, 3, 2]] * 3


def same_objects(found: list[list[int]]) -> bool:
    """Whether the ids are as expected, in any order of the two of the first frame."""
    swap = {1: 2, 2: 1}
    return found == EXPECTED or [[swap.get(i, i) for i in row] for row in found] == EXPECTED


@pytest.mark.parametrize("batch_size", [1, 3])
def test_a_folder_of_frames(frames: Path, batch_size: int) -> None:
    pipeline = Painted(SIZE, ("boxes", "corners", "bright"), batch_size=batch_size, track=True)
    results = pipeline.predict(frames)
    assert [(result.source, result.frame) for result in results] == [(frames, number) for number in range(10)]
    assert same_objects(ids_of(results)) and same_objects(ids_of(results, "corners"))
    assert len(results[0]["bright"]) == 2 and not hasattr(results[0]["bright"], "track_ids")
    assert [str(note) for note in pipeline.notes] == [
        f"1 object of branch '{name}' without a track was left out: {frames}" for name in ("boxes", "corners")
    ], "in frame 6 the new object has no track yet"
    assert results[0].to_dict()["boxes"]["objects"][0]["track_id"] in (1, 2)


def test_each_video_has_its_own_ids(frames: Path) -> None:
    pipeline = Painted(SIZE, ("boxes",), track="ocsort")
    results = list(pipeline.stream([str(frames), frames, Video(frames, done=frozenset(range(6)))]))
    ids = ids_of(results)
    assert len(results) == 24 and ids[:10] == ids[10:20] and results[20].frame == 6
    assert len(ids[20]) == 3, "the first frame of a video"
    assert results[0].track_ids.shape == (2,), "a result with one branch has the field"


def test_tracked_boxes_keep_their_attributes() -> None:
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [40, 0, 50, 10]], dtype=np.float32)
    scores, ids = np.array([0.9, 0.05, 0.8], dtype=np.float32), np.zeros(3, dtype=np.int64)
    labels = AttributeLabels(("blue", "red"), attribute="color", box_classes=("a",))
    values = AttributePrediction(boxes, scores, ids, np.eye(3, 2, dtype=np.float32), labels)
    cars = DetectPrediction(boxes, scores, ids, DetectLabels(("a",)), attributes={"color": values})
    plan = Painted(SIZE, ("boxes",), track=True).tracking
    assert plan is not None
    result = ResultTracker(plan)(Result({"boxes": cars, "paint": values}, None, SIZE, FrameInfo("clip", 0, None, None)))
    assert result.track_ids.tolist() == [1, 2] and result.boxes[1].attributes["color"].boxes.tolist() == [
        [40, 0, 50, 10]
    ]
    np.testing.assert_array_equal(result["paint"].boxes, result["boxes"].boxes)
    described = result.to_dict()["boxes"]["objects"][0]
    assert described["track_id"] == 1 and described["attributes"] == {"color": {"value": "blue", "score": 1.0}}


def test_frames_in_memory_and_skipped_ones() -> None:
    source = [VideoFrame(FrameInfo("camera:0", number, None, None), frame(number)) for number in (0, 1, 2, 4, 5)]
    results = list(Painted(SIZE, ("boxes",), track={"name": "bytetrack", "match_iou": 0.3}).stream(iter(source)))
    assert len({tuple(ids) for ids in ids_of(results)}) == 1


def test_thresholds_of_the_model_or_the_user_start_tracks() -> None:
    def threshold(**options: Any) -> Any:
        plan = Painted(SIZE, ("boxes",), **{"track": True, **options}).tracking
        assert plan is not None
        return plan.configs["boxes"].options.get("track_threshold"), plan.thresholds["boxes"]

    assert threshold() == (0.3, 0.1), "those that prediction shows"
    assert threshold(track={"track_threshold": 0.6}) == (0.6, 0.1)
    assert threshold(threshold=0.4) == (0.4, 0.1)
    stored = {"boxes": {"a": 0.05, "b": 0.8}}
    chosen, used = threshold(thresholds=stored)
    assert chosen.tolist() == [0.05, 0.8] and used.tolist() == [0.05, 0.1]


def test_what_has_no_tracks_is_refused(frames: Path, tmp_path: Path) -> None:
    image = frames / "frame1.png"
    for call in (
        lambda: Painted(SIZE, ("boxes",), track=True).predict(image),
        lambda: Painted(SIZE, ("boxes",), track=True).predict([frames, frame(0)]),
        lambda: list(Painted(SIZE, ("boxes",), track=True).stream([image])),
    ):
        with pytest.raises(
            ConfigError, match="tracks are for videos, cameras, and folders with an image for each frame"
        ):
            call()
    with pytest.raises(
        ConfigError,
        match=r"tracks are for branches of task detect or instances or keypoints.*none \(bright: classify, paint: segment\)",
    ):
        Painted(SIZE, ("bright", "paint"), track=True)
    with pytest.raises(UnknownName, match="unknown tracker 'sort'"):
        Painted(SIZE, ("boxes",), track="sort")
    with pytest.raises(DataError, match="has no images, which are the frames of one video"):
        Painted(SIZE, ("boxes",), track=True).predict(tmp_path)
    assert Painted(SIZE, ("boxes",), track=False).tracking is None


def test_frames_are_sorted_by_numbers(frames: Path) -> None:
    assert [path.name for path in list_frames(frames)] == [f"frame{number}.png" for number in range(1, 11)]
    assert Video(frames, frozenset({3})).count() == 9


def test_an_unreadable_frame_is_skipped(frames: Path, tmp_path: Path) -> None:
    for number in range(4):
        Image.fromarray(frame(number)).save(tmp_path / f"{number}.png")
    (tmp_path / "2.png").write_bytes(b"no image")
    pipeline = Painted(SIZE, ("boxes",), track=True, skip_unreadable=True)
    results = pipeline.predict(tmp_path)
    assert [result.frame for result in results] == [0, 1, 3] and "2.png" in pipeline.skipped[0].reason
    assert len({tuple(ids) for ids in ids_of(results)}) == 1


def test_mot_files(frames: Path, tmp_path: Path) -> None:
    results = Painted(SIZE, ("boxes", "bright"), track=True).predict([frames, frames])
    with MotFiles(tmp_path) as files:
        for result in results[:10]:
            files.write(result)
    assert files.written == [tmp_path / "walk.txt"] and str(files.notes[0]).startswith(
        "2 classes of objects were written without"
    )
    boxes = read_mot(files.written[0])
    for result, tracked in zip(results, boxes.by_frame(10), strict=False):
        order = np.argsort(tracked.ids), np.argsort(result["boxes"].track_ids)
        np.testing.assert_allclose(tracked.boxes[order[0]], result["boxes"].boxes[order[1]], atol=0.02)
    with MotFiles(tmp_path) as files:
        for result in Painted(SIZE, ("boxes", "corners"), track=True).predict(frames):
            files.write(result)
    assert [path.name for path in files.written] == ["walk_boxes.txt", "walk_corners.txt"]


def test_annotated_videos_have_paths(frames: Path, tmp_path: Path) -> None:
    results = Painted(SIZE, ("boxes",), track=True).predict(frames)
    trails = Trails()
    pictures = [np.asarray(trails.drawn(result.prediction)) for result in results[:5]]
    track = int(results[4]["boxes"].track_ids[results[4]["boxes"].class_ids == 0][0])
    behind = pictures[4][55:100, 80:115]  # the picture is enlarged by 5: the path left of the box at x = 26 .. 42
    assert (behind == color(track)).all(axis=-1).any() and not (pictures[0][55:100, 130:200] == color(track)).all(
        axis=-1
    ).any()
    plain = Painted(SIZE, ("boxes",)).predict(frame(0))[0].prediction
    assert np.array_equal(np.asarray(Trails().drawn(plain)), np.asarray(plain.draw()))
    with AnnotatedVideos(tmp_path) as videos:
        for result in results[:3]:
            videos.write(result)
    assert [path.name for path in videos.written] == ["walk_boxes.mp4"] and Video(videos.written[0]).count() == 3


def test_a_killed_job_goes_on_with_the_same_ids(frames: Path, tmp_path: Path) -> None:
    lines, mot = tmp_path / "found.jsonl", tmp_path / "mot"
    options = OutputOptions(None, None, str(lines), None, None, None, False, track=True, mot=str(mot))

    def predict() -> list[int | None]:
        pipeline = Painted(SIZE, ("boxes",), track=True)
        with OutputWriter(options, [str(frames)], [Video(frames)], pipeline.info, {"track": True}) as outputs:
            computed = []
            for result in pipeline.stream(outputs.remaining()):
                computed.append(result.frame)
                outputs.write(result)
        return computed

    assert predict() == list(range(10))
    whole = lines.read_text()
    lines.write_text("".join(whole.splitlines(keepends=True)[:8]))
    assert predict() == list(range(10)), "tracks need the frames before"
    assert lines.read_text() == whole
    assert (mot / "walk.txt").read_text() == (mot / "walk-2.txt").read_text()
    assert predict() == []
