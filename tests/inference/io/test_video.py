"""Videos and cameras as streams of frames: order, numbers, times, and how many are in memory."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import vertebra
from tests.inference.clips import FPS, FakeCapture, number_of, turn, write_clip
from tests.inference.painted import Painted
from vertebra.errors import ConfigError, DataError, RunError
from vertebra.inference.io import streams, video
from vertebra.inference.io.inputs import PREFETCHED_FRAMES, as_source, expected_count, list_images
from vertebra.inference.io.pictures import AnnotatedVideos, fit, write_pictures
from vertebra.inference.io.streams import Camera, is_address
from vertebra.inference.io.video import Video, VideoFrame
from vertebra.inference.results import Result


def seen(results: Sequence[Result]) -> list[int]:
    """The numbers that the frames themselves show."""
    return [number_of(np.asarray(result["paint"].image)) for result in results]


def model(**options: Any) -> Painted:
    return Painted((48, 64), ["bright", "boxes", "paint"], **options)


class Slow(Painted):
    """A model that takes as long as a camera takes for ten frames, if it has so many."""

    def __init__(self, fake: FakeCapture, **options: Any) -> None:
        super().__init__((48, 64), ["paint"], **options)
        self.fake = fake

    def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
        wanted = min(self.fake.grabbed + 10, self.fake.count)
        while self.fake.grabbed < wanted:
            time.sleep(0.001)
        return super().run(canvases, sizes)


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    return write_clip(tmp_path / "clip.mp4", 20)


def camera(monkeypatch: pytest.MonkeyPatch, fake: FakeCapture) -> list[Any]:
    """Has a fake for any camera; gives the addresses that are opened."""
    opened: list[Any] = []
    monkeypatch.setattr(streams, "open_capture", lambda address: opened.append(address) or fake)
    return opened


# --- videos -------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "fourcc"), [("a.mp4", "mp4v"), ("a.avi", "MJPG"), ("a.mkv", "mp4v")])
def test_frames_in_order_with_numbers_and_times(tmp_path: Path, name: str, fourcc: str) -> None:
    path = write_clip(tmp_path / name, 20, fourcc=fourcc)
    results = model(batch_size=3).predict(str(path))
    assert seen(results) == list(range(20))
    assert [result.frame for result in results] == list(range(20))
    assert [result.time for result in results] == pytest.approx([number / FPS for number in range(20)])
    assert all(result.path == path and result.size == (48, 64) for result in results)
    told = results[3].to_dict()
    assert list(told)[:5] == ["image", "frame", "time", "height", "width"]
    assert told["image"] == str(path) and told["frame"] == 3 and told["time"] == pytest.approx(0.24)
    assert number_of(np.asarray(results[7]["boxes"].draw())) == 7


def test_images_and_videos_mixed(tmp_path: Path) -> None:
    first, second = (write_clip(tmp_path / name, count) for name, count in (("b.mp4", 3), ("c.avi", 2)))
    Image.fromarray(np.zeros((40, 30, 3), dtype=np.uint8)).save(tmp_path / "a.png")
    (tmp_path / "deep").mkdir()
    Image.fromarray(np.zeros((20, 30, 3), dtype=np.uint8)).save(tmp_path / "deep" / "d.png")
    results = model(batch_size=4).predict([tmp_path / "a.png", first, np.zeros((10, 10, 3), np.uint8), second])
    assert [result.frame for result in results] == [None, 0, 1, 2, None, 0, 1]
    assert [result.time is None for result in results] == [True, False, False, False, True, False, False]
    assert "frame" not in results[0].to_dict() and results[4].path is None
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "d.png"], "in a folder, images only"
    assert [path.name for path in list_images(str(tmp_path / "*"))] == ["a.png", "b.mp4", "c.avi"]
    (tmp_path / "films").mkdir()
    first.rename(tmp_path / "films" / "b.mp4")
    with pytest.raises(DataError, match="no image in this folder .*pass videos by name"):
        list_images(tmp_path / "films")


def test_memory_is_bounded(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many frames are read ahead of the results that were taken does not depend on the video's length."""
    path, read = write_clip(clip.with_name("long.mp4"), 120), 0
    turned = video.rgb

    def counted(pixels: np.ndarray) -> np.ndarray:
        nonlocal read
        read += 1
        return turned(pixels)

    monkeypatch.setattr(video, "rgb", counted)
    most = 0
    for taken, _ in enumerate(model(batch_size=2).stream([path])):
        most = max(most, read - taken)
    assert read == 120 and most <= PREFETCHED_FRAMES + 1 + 2 * 2 + 1 + 3 * 2


def test_leaving_early_stops_reading(clip: Path) -> None:
    before = set(threading.enumerate())
    results = model(batch_size=1).stream([clip])
    assert next(results).frame == 0
    results.close()
    for thread in set(threading.enumerate()) - before:
        if "ThreadPool" in thread.name:
            thread.join(timeout=10)
            assert not thread.is_alive()


def test_done_frames_are_passed_over(clip: Path) -> None:
    predictor = model(batch_size=2)
    results = list(predictor.stream([Video(clip, frozenset({0, 1, 2, 5}))]))
    assert [result.frame for result in results] == [3, 4, *range(6, 20)] == seen(results)
    assert results[2].time == pytest.approx(6 / FPS) and sum(predictor.batches) == 16


def test_frames_are_upright(clip: Path) -> None:
    turned = turn(clip, clip.with_name("turned.mp4"))
    assert {frame.pixels.shape for frame in Video(turned).frames()} == {(64, 48, 3)}


def test_a_video_in_tiles(tmp_path: Path) -> None:
    path = write_clip(tmp_path / "large.mp4", 3, size=(96, 128))
    results = model(tile=64, batch_size=2).predict(path)
    assert [result.frame for result in results] == [0, 1, 2] == seen(results)
    assert results[0].size == (96, 128)


def test_times_are_the_containers(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Phones write frames at irregular times."""
    fake = FakeCapture(4, 0)
    shown = [0.0, 33.0, 250.0, 1000.0]
    monkeypatch.setattr(fake, "get", lambda which: 30.0 if which == 5 else shown[fake.grabbed - 1])  # CAP_PROP_FPS
    monkeypatch.setattr(video, "open_capture", lambda address: fake)
    assert [frame.frame_info.time for frame in Video(clip).frames()] == [0, 0.033, 0.25, 1]


def test_times_without_timestamps(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCapture(3, 0)
    monkeypatch.setattr(fake, "get", lambda which: 8.0 if which == 5 else 0.0)  # CAP_PROP_FPS
    monkeypatch.setattr(video, "open_capture", lambda address: fake)
    assert [frame.frame_info.time for frame in Video(clip).frames()] == [0, 0.125, 0.25]
    fake = FakeCapture(2, 0)
    monkeypatch.setattr(fake, "get", lambda which: 0.0)
    assert [frame.frame_info.time for frame in Video(clip).frames()] == [0, None]


def test_damaged_videos(clip: Path) -> None:
    folder = clip.parent
    (folder / "text.mp4").write_text("hello")
    matroska = write_clip(folder / "whole.mkv", 20).read_bytes()
    (folder / "cut.mkv").write_bytes(matroska[: len(matroska) // 2])
    with pytest.raises(DataError, match=r"text\.mp4: not a readable video"):
        model().predict([clip, folder / "text.mp4"])
    with pytest.raises(DataError, match=r"nowhere\.mp4: no such video file"):
        list(model().stream([folder / "nowhere.mp4"]))
    predictor = model(skip_unreadable=True)
    results = predictor.predict([folder / "text.mp4", folder / "cut.mkv", clip])
    cut = [result.frame for result in results if result.path == folder / "cut.mkv"]
    assert 0 < len(cut) < 20 and cut == list(range(len(cut))), "what there is of a video that was cut off"
    assert len(results) == len(cut) + 20
    assert len(predictor.skipped) == 1 and "text.mp4" in predictor.skipped[0].reason


def test_an_open_video_without_frames(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(video, "open_capture", lambda address: FakeCapture(0, 0))
    with pytest.raises(DataError, match=r"clip\.mp4: no frame of this video can be read"):
        model().predict(clip)


def test_how_many_results_to_expect(clip: Path) -> None:
    assert expected_count([clip.with_name("a.png"), Video(clip), Video(clip, frozenset({1, 2}))]) == 1 + 20 + 18
    assert expected_count([Video(clip), Camera("camera:0")]) is None


def test_without_opencv(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cv2", None)
    for source in (clip, "rtsp://10.0.0.1/door"):
        with pytest.raises(ConfigError, match=r"pip install '.\[video\]'"):
            list(model(skip_unreadable=True).stream([source]))


def test_a_cascade_sees_frames_too(clip: Path) -> None:
    detector = vertebra.create_model(
        "test_resnet", neck="fpn", decoder="fcos", classes=["a"], image_size=(64, 64), resize="letterbox"
    )
    classifier = vertebra.create_model("test_resnet", decoder="linear", classes=["b", "c"], image_size=(64, 64))
    cascade = vertebra.Cascade(detector.eval(), classifier.eval(), threshold=0.0, device="cpu", batch_size=3)
    short = write_clip(clip.with_name("short.mp4"), 4)
    results = cascade.predict(short)
    assert [result.frame for result in results] == [0, 1, 2, 3] and results[0].path == short
    assert set(results[0].keys()) == {"detect", "classify"} and len(results[0]["classify"]) > 0
    assert number_of(np.asarray(results[2]["classify"].image)) == 2
    with pytest.raises(ConfigError, match="camera:0: a live source has no end"):
        cascade.predict("camera:0")


# --- live sources -------------------------------------------------------------------------------------------------------


def test_old_frames_are_dropped(monkeypatch: pytest.MonkeyPatch) -> None:
    """The model takes as long as ten frames of the camera: each result is of a frame that is at most a moment old."""
    fake = FakeCapture(100, 0.01)
    opened = camera(monkeypatch, fake)
    predictor = Slow(fake, batch_size=8)
    results, behind = [], []
    for result in predictor.stream(["camera:2"]):
        behind.append(fake.grabbed - int(result.frame or 0))
        results.append(result)
    assert opened == [2] and fake.released
    numbers = [int(result.frame or 0) for result in results]
    assert all(following - number >= 10 for number, following in pairwise(numbers[:-1])), "those between were dropped"
    assert numbers[-1] == 99, "the newest is kept"
    assert [number % 25 for number in numbers] == seen(results)
    assert sorted(behind)[len(behind) // 2] <= 30, "a result is about one run of the model old, not a queue of frames"
    assert set(predictor.batches) == {1}
    times = [float(result.time or 0) for result in results]
    assert times == sorted(times) and times[-1] >= 99 * 0.01
    assert results[0].path is None and results[0].to_dict()["image"] == "camera:2"


def test_results_come_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCapture(1000, 0.05)
    camera(monkeypatch, fake)
    results = model(batch_size=8).stream(["rtsp://door"])
    for _ in range(3):
        assert fake.grabbed - int(next(results).frame or 0) <= 8
    assert not fake.released
    results.close()
    assert fake.released and fake.grabbed < 1000, "leaving ends the reader"


def test_an_interrupt_ends_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeCapture(1000, 0.01)
    camera(monkeypatch, fake)

    class Interrupted(Painted):
        def run(self, canvases: np.ndarray, sizes: np.ndarray) -> Mapping[str, Sequence[np.ndarray]]:
            if len(self.batches) == 2:
                raise KeyboardInterrupt
            return super().run(canvases, sizes)

    got: list[Result] = []
    with pytest.raises(KeyboardInterrupt):
        got.extend(Interrupted((48, 64), ["paint"]).stream(["camera:0"]))
    assert len(got) == 2 and fake.released


def test_live_sources_that_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    camera(monkeypatch, FakeCapture(0, 0, opened=False))
    with pytest.raises(DataError, match="camera:0: cannot be opened"):
        list(model().stream(["camera:0"]))
    camera(monkeypatch, FakeCapture(0, 0))
    with pytest.raises(DataError, match="rtsp://10.0.0.1/door: no frame can be read"):
        list(model().stream(["rtsp://10.0.0.1/door"]))
    broken = FakeCapture(5, 0)
    monkeypatch.setattr(broken, "retrieve", lambda: 1 / 0)
    camera(monkeypatch, broken)
    with pytest.raises(ZeroDivisionError):
        list(model().stream(["camera:0"]))
    with pytest.raises(DataError, match="camera:front: a camera is named by its number"):
        Camera("camera:front")
    with pytest.raises(ConfigError, match=r"camera:0: a live source has no end; .*Predictor\(model\)\.stream\("):
        model().predict("camera:0")


def test_addresses() -> None:
    assert all(map(is_address, ("camera:1", "rtsp://a/b", "RTSP://a", "rtmp://a/b", "http://a/b.m3u8", "https://a")))
    assert not any(map(is_address, ("a.mp4", "file://a.mp4", "C://a", "photos/camera:1")))
    assert isinstance(as_source("clip.MOV"), Video) and as_source("a.jpg") == "a.jpg"
    for secret in (
        "rtsp://me:secret@10.0.0.1:554/door?pwd=1",
        "rtsp://me:se/cr#et@10.0.0.1:554/door",
        "rtsp://10.0.0.1:554/door",
    ):
        assert Camera(secret).name == "rtsp://10.0.0.1:554/door"
    assert Camera("rtsp://[bad").name == "rtsp://[bad"
    assert list_images(["camera:0", "rtsp://a/b"]) == ["camera:0", "rtsp://a/b"]


# --- annotated videos ---------------------------------------------------------------------------------------------------


def test_one_annotated_video_a_branch(clip: Path, tmp_path: Path) -> None:
    second, out = write_clip(tmp_path / "odd.avi", 3, size=(46, 62), fourcc="MJPG"), tmp_path / "out"
    for _ in range(2):
        with AnnotatedVideos(out) as videos:
            for result in model().stream([clip, second]):
                videos.write(result)
    names = [f"{stem}_{branch}" for stem in ("clip", "odd") for branch in ("boxes", "bright", "paint")]
    assert sorted(path.stem for path in out.iterdir()) == sorted([*names, *(f"{name}-2" for name in names)])
    assert len(videos.written) == 6
    drawn = list(Video(out / "clip_boxes.mp4").frames())
    assert [number_of(frame.pixels) for frame in drawn] == list(range(20))
    assert drawn[0].pixels.shape == (48, 64, 3) and drawn[0].frame_info.fps == pytest.approx(FPS)
    assert [frame.pixels.shape for frame in Video(out / "odd_bright.mp4").frames()] == [(46, 62, 3)] * 3


def test_a_video_that_cannot_be_written_has_no_name(clip: Path, tmp_path: Path) -> None:
    """OpenCV says nothing where the disk is full."""
    import resource

    out, before = tmp_path / "out", resource.getrlimit(resource.RLIMIT_FSIZE)
    results = list(model().stream([clip]))
    resource.setrlimit(resource.RLIMIT_FSIZE, (1500, before[1]))
    try:
        with (
            pytest.raises(
                RunError, match=r"clip_bright\.mp4: could not be written \(0 of 20 frames were\); is the disk"
            ),
            AnnotatedVideos(out) as videos,
        ):
            for result in results:
                videos.write(result)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert not list(out.iterdir()) and not videos.written


def test_a_live_video_lasts_as_long_as_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake, numbers = FakeCapture(40, 0.01), []
    camera(monkeypatch, fake)
    with AnnotatedVideos(tmp_path) as videos:
        for result in Slow(fake).stream(["camera:0"]):
            videos.write(result)
            numbers.append(int(result.frame or 0))
    (path,) = videos.written
    assert path.name == "camera-0_paint.mp4"
    frames = list(Video(path).frames())
    assert len(frames) == 40 - numbers[0] > len(numbers), "a frame stands for those that were dropped before it"
    assert frames[0].frame_info.fps == pytest.approx(30)


def test_legends_lie_over_the_lower_edge() -> None:
    picture = np.zeros((70, 60, 3), dtype=np.uint8)
    picture[:60], picture[60:] = 100, 200
    fitted = fit(Image.fromarray(picture), (30, 30))
    assert fitted.shape == (30, 30, 3) and (fitted[:24] == 100).all() and (fitted[26:] == 200).all()
    assert (fit(Image.fromarray(picture[:60]), (30, 30)) == 100).all()
    assert fit(Image.fromarray(picture[:30]), (16, 30)).shape == (16, 30, 3)


def test_pictures_take_free_names(tmp_path: Path) -> None:
    (result,) = model().predict(np.zeros((48, 64, 3), dtype=np.uint8))
    assert [path.name for path in write_pictures(result, tmp_path).values()] == [
        "image_bright.jpg",
        "image_boxes.jpg",
        "image_paint.jpg",
    ]
    assert write_pictures(result, tmp_path)["bright"].name == "image_bright-2.jpg"


def test_a_frame_is_not_taken_for_a_list(clip: Path) -> None:
    frame = next(Video(clip).frames())
    assert isinstance(frame, VideoFrame) and list_images(frame) == [frame]
    assert model().predict(frame)[0].frame == 0
